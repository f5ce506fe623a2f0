"""The four transport problems of a Sinkhorn divergence, solved in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_NO_MASS = -1e5  # the logarithm of a weight of zero, GeomLoss's
# Beside the largest term, which is one, e^-80 is nothing in any precision. Below, where numbers
# underflow, CPUs take many times as long for an exponential.
_NOTHING = -80.0


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
    [b, j, i, k].

    Args:
        a: Weights (B, n) of x, which sum to one.
        x: Points (B, n, L).
        b: Weights (B, n) of y, which sum to one.
        y: Points (B, n, L).
        p: Exponent of the cost, 1 or 2.
        annealing: The iterations' temperatures.

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
