"""Flows written as a torch Transform, whose parameters a small network reads from the context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, TransformedDistribution, constraints
from torch.distributions.transforms import Transform

from probseg.errors import OptionError
from probseg.options import check_integer
from probseg.projectors.flow import in_own_precision
from probseg.utils.tensors import in_single_precision


class VectorTransform(Transform):
    """A base class for invertible maps of vectors (..., L).

    A subclass has ``_call(z)``, ``_inverse(y)`` and ``log_abs_det_jacobian(z, y)``; the last
    returns (...).
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True


class Amortised(nn.Module):
    """A projector: a transform whose parameters are an affine function of the context.

    Where the parameters are zero, the transform should be the identity or close to it: training
    starts there.

    Args:
        transform: Returns a ``torch.distributions.transforms.Transform`` when it is called with the
            parameters, by name: each (B, *shape), in at least single precision. A class is such a
            function.
        shapes: Shape of each parameter of one image.
        context_features: Width of the context.
        steps: How many such transforms are composed, each with parameters of its own.
        scale: Standard deviation of the network's initial weights; its biases start at zero.

    Raises:
        OptionError: There is no parameter or no step, or a shape or the scale is not positive.

    >>> from torch.distributions import AffineTransform, Independent, Normal
    >>> shift = Amortised(lambda to: AffineTransform(to, 1.0), {"to": (6,)}, context_features=8)
    >>> base = Independent(Normal(torch.zeros(2, 6), torch.ones(2, 6)), 1)
    >>> shift(base, torch.rand(2, 8)).rsample((3,)).shape
    torch.Size([3, 2, 6])
    """

    def __init__(
        self,
        transform: Callable[..., Transform],
        shapes: Mapping[str, Sequence[int]],
        *,
        context_features: int,
        steps: int = 1,
        scale: float = 0.01,
    ) -> None:
        super().__init__()
        if not shapes or not all(size > 0 for shape in shapes.values() for size in shape):
            raise OptionError(f"shapes must have a parameter, of positive sizes, not {shapes}")
        if not scale > 0:
            raise OptionError(f"scale must be more than zero, not {scale}")
        self.transform = transform
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.sizes = [prod(shape) for shape in self.shapes.values()]
        self.steps = check_integer("steps", steps)
        self.network = nn.Linear(context_features, self.steps * sum(self.sizes))
        nn.init.normal_(self.network.weight, std=scale)
        nn.init.zeros_(self.network.bias)
        in_own_precision(self.network)

    def forward(self, base: Distribution, context: Tensor) -> Distribution:
        """Return the density of f(z) for z from ``base``; the context is (B, c)."""
        parameters = self.network(context).chunk(self.steps, dim=-1)
        steps: list[Transform] = [_SinglePrecision(self._step(values)) for values in parameters]
        return TransformedDistribution(base, steps, validate_args=False)  # that waits for a device

    def _step(self, values: Tensor) -> Transform:
        """Return one transform from its parameters in a row, (B, P)."""
        named = zip(self.shapes.items(), values.split(self.sizes, dim=-1), strict=True)
        batch = values.shape[:-1]
        return self.transform(
            **{name: part.reshape(*batch, *shape) for (name, shape), part in named}
        )


class _SinglePrecision(Transform):
    """Computes a transform in at least single precision, and remembers its last sample.

    The density of a sample thus never needs an inverse.
    """

    bijective = True

    def __init__(self, transform: Transform) -> None:
        super().__init__(cache_size=1)
        self._transform = transform
        self.domain, self.codomain = transform.domain, transform.codomain

    def _call(self, x: Tensor) -> Tensor:
        return self._compute(self._transform, x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._compute(self._transform.inv, y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log |det df/dx| with the shape of x less the transform's own axes."""
        return self._compute(self._transform.log_abs_det_jacobian, x, y)

    @staticmethod
    def _compute(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        with torch.autocast(inputs[0].device.type, enabled=False):
            return function(*map(in_single_precision, inputs)).to(inputs[0].dtype)
