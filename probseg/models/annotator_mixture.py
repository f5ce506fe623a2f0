"""Densities for several annotators of an image: their mixture, and one density for each."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

# What is repeated of densities whose divergence torch knows in closed form.
_PARAMETERS = {
    Laplace: ("loc", "scale"),
    LowRankMultivariateNormal: ("loc", "cov_factor", "cov_diag"),
    MultivariateNormal: ("loc", "scale_tril"),
    Normal: ("loc", "scale"),
}


class AnnotatorMixture(Distribution):
    r"""The posteriors of an image's annotators as one density, with equal weights.

    .. math:: q(z | x) = \frac{1}{|A_x|} \sum_{a \in A_x} q(z | x, y_a)

    over the annotators :math:`A_x` who labelled image x. Samples are stratified: those that are
    drawn together take the annotators in turn, in a random order, so that as many as there are
    annotators hold one of each.

    Args:
        components: The posteriors, batch (A * B,) and event (L,), one annotator after the other.
        present: (A, B) bool, who labelled which image; somebody labelled each.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(self, components: Distribution, present: Tensor) -> None:
        self.components, self.present = components, present
        super().__init__(present.shape[1:], components.event_shape, validate_args=False)

    @property
    def parts(self) -> int:
        """A, the number of samples that hold one of each annotator."""
        return len(self.present)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples (*sample_shape, B, L)."""
        count = prod(sample_shape)
        drawn = self.components.rsample(torch.Size((count,))).unflatten(1, self.present.shape)
        taken = self._turns(count)[:, None, :, None].expand(-1, 1, -1, drawn.shape[-1])
        sample: Tensor = drawn.gather(1, taken)
        return sample.view(self._extended_shape(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log-densities (*s, B) of latents (*s, B, L)."""
        each = self.components.log_prob(torch.cat([value] * self.parts, dim=-2))
        each = each.unflatten(-1, self.present.shape).masked_fill(~self.present, -torch.inf)
        density: Tensor = each.logsumexp(-2)
        return density - self.present.sum(0).log()

    @property
    def mean(self) -> Tensor:
        """The mean (B, L)."""
        return self._average(self.components.mean)

    @property
    def variance(self) -> Tensor:
        """The variance (B, L): the mean of the annotators' and the spread of their means."""
        apart = self.components.mean.unflatten(0, self.present.shape) - self.mean
        return self._average(self.components.variance + apart.square().flatten(0, 1))

    def _average(self, values: Tensor) -> Tensor:
        weights = (self.present / self.present.sum(0))[..., None]
        each: Tensor = values.unflatten(0, self.present.shape)
        return (each * weights).sum(0)

    def _turns(self, count: int) -> Tensor:
        """Return whose sample each is, (count, B): the present ones again and again."""
        if self.parts == 1:
            return torch.zeros_like(self.present, dtype=torch.long).expand(count, -1)
        order = torch.rand(self.present.shape, device=self.present.device)
        order = order.masked_fill(~self.present, torch.inf).argsort(0)
        turns = torch.arange(count, device=order.device)[:, None] % self.present.sum(0)
        return order.gather(0, turns)


class Repeated(Distribution):
    """A density of each of B images, once for each of A annotators: batch (A * B,).

    It has the ``rsample`` and ``log_prob`` of any density, but no closed form of its divergence;
    see :func:`repeated`.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, density: Distribution, times: int) -> None:
        self.density, self.times = density, times
        self.has_rsample = density.has_rsample
        batch = torch.Size((times * density.batch_shape[0],))
        super().__init__(batch, density.event_shape, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples (*sample_shape, A * B, L), each drawn for itself."""
        return self.density.rsample(torch.Size((*sample_shape, self.times))).flatten(-3, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log-densities (*s, A * B) of latents (*s, A * B, L)."""
        return self.density.log_prob(value.unflatten(-2, (self.times, -1))).flatten(-2)

    @property
    def mean(self) -> Tensor:
        """The mean (A * B, L)."""
        return self.density.mean.repeat(self.times, 1)

    @property
    def variance(self) -> Tensor:
        """The variance (A * B, L)."""
        return self.density.variance.repeat(self.times, 1)


def repeated(density: Distribution, times: int) -> Distribution:
    """Return a density (B,) once for each annotator, (A * B,); Normals and the like stay such.

    Others, subclasses of these among them, become :class:`Repeated`.
    """
    if times == 1:
        return density
    if type(density) is Independent:
        base = repeated(density.base_dist, times)
        if type(base) is type(density.base_dist):
            return Independent(base, density.reinterpreted_batch_ndims, validate_args=False)
    family: Any = type(density)
    if family not in _PARAMETERS:
        return Repeated(density, times)
    names = _PARAMETERS[family]
    each = {name: torch.cat([getattr(density, name)] * times) for name in names}
    again: Distribution = family(**each, validate_args=False)
    return again
