"""A Gaussian over the logits of a segmentation, whose covariance is of low rank plus diagonal."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints


class LowRankLogits(Distribution):
    r"""N(mean, F F' + D) over logits (K, H, W), with D diagonal.

    A sample is :math:`\mu + \sum_r \epsilon_r F_r + \sqrt{D} \odot \epsilon` and never needs the
    covariance, nor a factorisation that could fail.

    Args:
        mean: (B, K, H, W).
        factor: F, (B, R, K, H, W).
        scale: The square root of D, (B, K, H, W).
    """

    arg_constraints = {}  # noqa: RUF012  # as torch's distributions have it
    support = constraints.independent(constraints.real, 3)
    has_rsample = True

    def __init__(self, mean: Tensor, factor: Tensor, scale: Tensor) -> None:
        self._mean, self.factor, self.scale = mean, factor, scale
        super().__init__(mean.shape[:1], mean.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean logits, (B, K, H, W)."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """The variance of each logit, (B, K, H, W)."""
        return self.factor.square().sum(1) + self.scale.square()

    def rsample(self, sample_shape: Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Return samples (*s, B, K, H, W)."""
        return self.mean + self.deviations(Size(sample_shape))

    def deviations(self, sample_shape: Size) -> Tensor:
        """Return samples less their mean, (*s, B, K, H, W)."""
        shared = torch.randn_like(self.factor[..., 0, 0, 0].expand(*sample_shape, -1, -1))
        own = torch.randn_like(self.mean.expand(*sample_shape, -1, -1, -1, -1))
        return torch.einsum("...br,brkhw->...bkhw", shared, self.factor) + self.scale * own
