"""Where a flow starts: a Normal for each pixel and class, with the moments of the classes there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probseg.utils.tensors import in_single_precision

_LEAST_VARIANCE = 0.01  # of pixels whose class is certain


class PixelwiseNormal(NamedTuple):
    r"""The base of the flow, independent over pixels and classes, given a scale s.

    .. math:: N\big(2 \pi - 1, \; s^2 (4 \pi (1 - \pi) + 0.01)\big), \quad
        \pi = \mathrm{softmax}(l(x))

    A class that is drawn from π and coded as ±1 has mean 2π − 1 and variance 4π(1 − π), so that the
    cross-entropy of π fits both mean and scale.
    """

    log_probabilities: Tensor
    """log π, (B, K, H, W)."""
    mean: Tensor
    """(B, K, H, W)."""
    scale: Tensor
    """The standard deviation, (B, K, H, W)."""

    @classmethod
    def of_logits(cls, logits: Tensor, noise: float) -> PixelwiseNormal:
        """Return the base of logits (B, K, H, W) and a scale, in at least single precision.

        No gradient passes through it.
        """
        log_share = in_single_precision(logits.detach()).log_softmax(dim=1)
        share = log_share.exp()
        variance = 4 * share * (1 - share) + _LEAST_VARIANCE
        return cls(log_share, 2 * share - 1, noise * variance.sqrt())

    def classes(self) -> Tensor:
        """Return a class (B, H, W) for each pixel, drawn from π on its own."""
        waits = torch.empty_like(self.log_probabilities).exponential_()  # the first of them wins
        return (self.log_probabilities - waits.log()).argmax(dim=1)

    def sample(self, n: int) -> Tensor:
        """Return n states (n, B, K, H, W) of each image."""
        states = torch.randn(n, *self.mean.shape, dtype=self.mean.dtype, device=self.mean.device)
        return states.mul_(self.scale).add_(self.mean)
