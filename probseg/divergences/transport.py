"""Optimal transport between samples: the Sinkhorn divergence, and the exact one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from probseg.errors import OptionError
from probseg.options import check_choice, check_integer, check_number

_NO_MASS = -1e5  # the logarithm of a weight of zero, GeomLoss's
# Beside the largest term, which is one, e^-80 is nothing in any precision. Below, where numbers
# underflow, CPUs take many times as long for an exponential.
_NOTHING = -80.0
_importing = Lock()


class Sinkhorn:
    r"""The Sinkhorn divergence, eq. (11) of docs/method.md, between samples of q and p.

    .. math:: S_\epsilon(q, p) = W_\epsilon(q, p) - \tfrac12 (W_\epsilon(q, q) + W_\epsilon(p, p))

    with the cost :math:`\|x - y\|^2 / 2` for the default ``p=2``. Between n samples each of one
    and the same density it is above zero, and more so the wider the density is.

    Args:
        samples: N_OT; None draws as many as an image has annotators, where the densities are of
            all of them (a penalty on ``"annotators"``): one of each annotator's posterior.
        p: Exponent of the cost, 1 or 2.
        blur: Square root (for p = 2) of the final temperature.
        scaling: Ratio of successive scales of the annealing; nearer to 1 is slower and finer.
        diameter: First scale of the annealing, in latent units.
        weights: ``"uniform"``, or ``"density"`` for samples weighed by their normalised density.
        solver: ``"geomloss"``, or ``"stacked"``, which goes through the same iterations in a
            few large operations and is several times faster for few samples; ``"auto"`` takes
            GeomLoss on a CPU and the other one on a GPU, where GeomLoss's launches would double
            the time of a training step.

    Raises:
        OptionError: No sample, unknown weights or solver, or a scale out of range.

    References:
        Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn
        Divergences", AISTATS 2019; settings in docs/reproduce.md.
    """

    def __init__(
        self,
        *,
        samples: int | None = 16,
        p: int = 2,
        blur: float = 0.05,
        scaling: float = 0.5,
        diameter: float = 100.0,
        weights: str = "uniform",
        solver: str = "auto",
    ) -> None:
        check_sampling(samples, weights)
        check_choice("solver", solver, ("auto", "geomloss", "stacked"))
        scales = {"blur": blur, "scaling": scaling, "diameter": diameter}
        check_choice("p", p, (1, 2))
        check_number("blur", blur)
        check_number("diameter", diameter)
        if not 0 < scaling < 1:
            raise OptionError(f"scaling must be between 0 and 1, not {scaling!r}")
        self.samples, self.weights, self.solver = samples, weights, solver
        self._stacked = partial(stacked, p=p, annealing=temperatures(p, **scales))
        self._geomloss = partial(geomloss, p=p, blur=blur, scaling=scaling, diameter=diameter)
        if solver != "stacked":
            samples_loss()  # imported when the model is built, not in its first step

    def check_densities(self, q: Distribution, p: Distribution) -> None:
        """Check that densities can be compared; a model does when it is built.

        Raises:
            OptionError: The samples follow the annotators, and q is not of all of them.
        """
        sample_count(self.samples, q)

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,).

        Raises:
            OptionError: The samples follow the annotators, and q is not of all of them.
        """
        count = sample_count(self.samples, q)
        x, a = point_cloud(q, count, self.weights)
        y, b = point_cloud(p, count, self.weights)
        # GeomLoss leaves autograd switched on, whatever it was before
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            divergence: Tensor = self._solver(x.device)(a, x, b, y)
        return divergence

    def _solver(self, device: torch.device) -> Callable[..., Tensor]:
        on_gpu = self.solver == "auto" and device.type != "cpu"
        return self._stacked if on_gpu or self.solver == "stacked" else self._geomloss


class ExactOT:
    r"""Exact optimal transport between samples of q and p, one number per image.

    .. math:: \min_\gamma \sum_{ij} \gamma_{ij} \tfrac12 \|x_i - y_j\|^2

    on the scale of the registered ``"sinkhorn"``, of which it is the limit without blur. POT solves
    it on the CPU, which each step of a training on an accelerator waits for.

    Args:
        samples: N_OT; None draws as many as an image has annotators, where the densities are of
            all of them (a penalty on ``"annotators"``): one of each annotator's posterior.
        weights: ``"uniform"``, or ``"density"`` for samples weighed by their normalised density.

    Raises:
        OptionError: No sample, or unknown weights.

    References:
        Flamary et al., "POT: Python Optimal Transport", JMLR 2021.
    """

    def __init__(self, *, samples: int | None = 16, weights: str = "uniform") -> None:
        check_sampling(samples, weights)
        self.samples, self.weights = samples, weights
        self._solve = importlib.import_module("ot").emd2  # takes a second, so only here

    def check_densities(self, q: Distribution, p: Distribution) -> None:
        """Check that densities can be compared; a model does when it is built.

        Raises:
            OptionError: The samples follow the annotators, and q is not of all of them.
        """
        sample_count(self.samples, q)

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,).

        Raises:
            OptionError: The samples follow the annotators, and q is not of all of them.
        """
        count = sample_count(self.samples, q)
        x, a = point_cloud(q, count, self.weights)
        y, b = point_cloud(p, count, self.weights)
        cost = (x[:, :, None] - y[:, None]).square().sum(-1) / 2
        return torch.stack([self._solve(*problem) for problem in zip(a, b, cost, strict=True)])


def check_sampling(samples: int | None, weights: str) -> None:
    """Check the two options of :func:`point_cloud`.

    Raises:
        OptionError: There is no sample, or the weights are unknown.
    """
    if samples is not None:
        check_integer("samples", samples)
    check_choice("weights", weights, ("uniform", "density"))


def sample_count(samples: int | None, density: Distribution) -> int:
    """Return how many samples to draw; None is one of each of the density's ``parts``.

    Raises:
        OptionError: It is None, and the density has no parts.
    """
    if samples is not None:
        return samples
    parts: int | None = getattr(density, "parts", None)
    if parts is None:
        raise OptionError(
            "samples=None draws a sample of each annotator, and this density is of one; compare on "
            "'annotators' (divergence_on, or on of a penalty) in a model with all_annotators=True, "
            "or give a number of samples"
        )
    return parts


def point_cloud(density: Distribution, samples: int, weights: str) -> tuple[Tensor, Tensor]:
    """Return n samples (B, n, L) of a density and their weights (B, n), which sum to one."""
    z = density.rsample((samples,))
    if weights == "density":
        mass = density.log_prob(z).softmax(0)
    else:
        mass = z.new_full(z.shape[:-1], 1 / samples)
    return z.transpose(0, 1).contiguous(), mass.transpose(0, 1).contiguous()


def geomloss(a: Tensor, x: Tensor, b: Tensor, y: Tensor, *, p: int, **scales: float) -> Tensor:
    """Return GeomLoss's Sinkhorn divergence (B,), given its ``blur``, ``scaling``, ``diameter``.

    The points x and y (B, n, L) have the weights a and b (B, n), which sum to one.
    """
    solve = samples_loss()("sinkhorn", p=p, **scales, backend="tensorized")
    divergence: Tensor = solve(a, x, b, y)
    return divergence


@cache
def samples_loss() -> Callable[..., Any]:
    """Import GeomLoss's class, without PyKeOps if that is not imported yet.

    GeomLoss imports PyKeOps if it is installed, which then looks for compilers and prints. So
    PyKeOps is hidden during this import, and the modules are removed from ``sys.modules`` after it:
    later imports of GeomLoss get all its backends.
    """
    with _importing:
        loaded = "geomloss" in sys.modules or "pykeops" in sys.modules
        if loaded or importlib.util.find_spec("pykeops") is None:
            return _load()
        sys.modules["pykeops"] = None  # type: ignore[assignment]  # import takes it as missing
        try:
            return _load()
        finally:
            for name in [name for name in sys.modules if name.split(".")[0] == "geomloss"]:
                del sys.modules[name]
            del sys.modules["pykeops"]


def _load() -> Callable[..., Any]:
    samples_loss: Callable[..., Any] = importlib.import_module("geomloss").SamplesLoss
    return samples_loss


def temperatures(p: int, *, blur: float, scaling: float, diameter: float) -> list[float]:
    """Return GeomLoss's annealing schedule, from ``diameter**p`` to ``blur**p``."""
    first, last, step = (p * np.log(scale) for scale in (diameter, blur, scaling))
    return [diameter**p, *np.exp(np.arange(first, last, step)).tolist(), blur**p]


def stacked(
    a: Tensor, x: Tensor, b: Tensor, y: Tensor, *, p: int, annealing: Sequence[float]
) -> Tensor:
    """Return the Sinkhorn divergence (B,) of weighted points, as GeomLoss computes it.

    GeomLoss goes through its iterations with one problem after the other (q to p, p to q, and each
    to itself). Here the iterations are the same, and each is one operation on all problems of all
    images: a cost (B, 2, n, 2, n) holds the distance of point k of side i to point l of side j at
    [b, j, l, i, k], and a potential (B, 2, 2, n) that of point k of side i against side j at
    [b, j, i, k]. Each temperature of ``annealing`` is an iteration.

    References:
        Feydy, "Geometric data analysis, beyond convolutions", thesis, 2020, algorithm 3.5.
    """
    points, mass, n = torch.cat([x, y], dim=1), torch.stack([a, b], dim=1), x.shape[1]
    cost = _cost(points.detach(), points, p).view(-1, 2, n, 2, n)
    log_mass = mass.detach().log().clamp_min(_NO_MASS)
    with torch.no_grad():
        potential = _softmin(annealing[0], cost, log_mass[..., None])
        for temperature in annealing:
            opposite = _opposite(temperature, potential, log_mass)
            potential = (potential + _softmin(temperature, cost, opposite)) / 2
        opposite = _opposite(annealing[-1], potential, log_mass)
    # At the optimum the potentials' own gradient vanishes: only this last step has one.
    potential = _softmin(annealing[-1], cost, opposite)
    debiased = (potential.flip(1) - potential).diagonal(dim1=1, dim2=2)  # against other less own
    return (mass.mT * debiased).sum((1, 2))


def _cost(x: Tensor, y: Tensor, p: int) -> Tensor:
    """Return |x - y|^p / p of points (B, n, L) and (B, m, L), (B, n, m)."""
    lengths = x.square().sum(-1)[:, :, None] + y.square().sum(-1)[:, None]
    squared = lengths - 2 * x @ y.mT
    return squared / 2 if p == 2 else squared.clamp_min(1e-8).sqrt()  # GeomLoss's guard


def _opposite(temperature: float, potential: Tensor, log_mass: Tensor) -> Tensor:
    """Return the scaled potentials (B, 2, n, 2) of points l of side j against side i."""
    return torch.add(log_mass[..., None], potential.permute(0, 2, 3, 1), alpha=1 / temperature)


def _softmin(temperature: float, cost: Tensor, opposite: Tensor) -> Tensor:
    """Return potentials (B, 2, 2, n), soft minima of the cost less the opposite potential."""
    exponent = torch.sub(opposite[..., None], cost, alpha=1 / temperature)
    largest = exponent.detach().amax(2, keepdim=True)
    terms = (exponent - largest).clamp_min(_NOTHING).exp()
    return -temperature * (terms.sum(2).log() + largest.squeeze(2))
