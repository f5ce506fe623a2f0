"""The Sinkhorn divergence between samples and annotations, in the space of segmentations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probseg.options import check_integer, check_number
from probseg.set_losses import jaccard
from probseg.set_losses.experts import expert_weights, sample_masses

_NO_MASS = -1e5  # the logarithm of a weight of zero


class Sinkhorn:
    r"""The Sinkhorn divergence of samples from annotations, under the soft Jaccard distance.

    .. math:: S_\epsilon(q, p) = W_\epsilon(q, p) - \tfrac12 (W_\epsilon(q, q) + W_\epsilon(p, p)),
        \quad W_\epsilon(q, p) = \min_\gamma \sum_{sa} \gamma_{sa} d(\hat y_s, y_a)
        + \epsilon\, \mathrm{KL}(\gamma \,\|\, q \otimes p)

    It is zero of equal sets, the exact transport for a small temperature, and half the energy
    distance for a large one. GeomLoss takes points, and POT waits for the GPU to know when to stop,
    so the iterations are written here, on the distances of all images.

    Args:
        epsilon: The temperature, in units of the distance, of which the largest is one.
        iterations: The temperature falls from one in the first half of them.

    Raises:
        OptionError: One of them is not positive.

    References:
        Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn
        Divergences", AISTATS 2019.
    """

    def __init__(self, *, epsilon: float = 0.05, iterations: int = 30) -> None:
        final, count = check_number("epsilon", epsilon), check_integer("iterations", iterations)
        falling = [math.exp(math.log(final) * min(1.0, 2 * i / count)) for i in range(count)]
        self._temperatures = [*falling, final]

    def __call__(self, samples: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the divergence (B,) of probabilities (S, B, K, H, W) and masks (B, A, H, W).

        The masks are of the classes, -100 where an annotator did not label. ``weights`` (G, B) sum
        to one, of G experts that drew S / G samples each, one expert's after the other's.
        """
        cross, there = jaccard.to_annotations(samples, masks)
        mine = jaccard.to_each_other(samples, masks)
        theirs = jaccard.between_annotations(masks, samples.shape[2], cross.dtype)
        mass = sample_masses(expert_weights(weights, samples), len(samples)).to(cross.dtype)
        apart = self._transport(cross, mass, there)
        alone = self._transport(mine, mass, mass) + self._transport(theirs, there, there)
        return (apart - alone / 2) * there.sum(1).sign()

    def _transport(self, cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return W (B,) of costs (B, n, m) between points of masses a (B, n) and b (B, m).

        At the optimum the potentials' own gradient vanishes: only the last step has one.
        """
        log_a, log_b = (mass.detach().log().clamp_min(_NO_MASS) for mass in (a, b))
        fixed = cost.detach()
        f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
        for temperature in self._temperatures:
            nearer_b = _softmin(temperature, fixed, g, log_b)
            nearer_a = _softmin(temperature, fixed.mT, f, log_a)
            f, g = (f + nearer_b) / 2, (g + nearer_a) / 2
        f = _softmin(self._temperatures[-1], cost, g, log_b)
        return (a * f).sum(1) + (b * g).sum(1)


def _softmin(temperature: float, cost: Tensor, potential: Tensor, log_mass: Tensor) -> Tensor:
    """Return soft minima (B, n) of costs (B, n, m) less potentials (B, m) of points with a mass."""
    exponent = log_mass[:, None] + (potential[:, None] - cost) / temperature
    return -temperature * exponent.logsumexp(2)
