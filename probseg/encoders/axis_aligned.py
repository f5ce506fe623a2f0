"""The latent encoder of the Probabilistic U-Net (Kohl et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional

from probseg.backbones.blocks import check_widths, convolution_block
from probseg.options import check_number
from probseg.utils.tensors import in_single_precision


class AxisAligned(nn.Module):
    """Encodes to a Normal with a diagonal covariance.

    The logarithm of the scale is bounded smoothly, ``bound * tanh(raw / bound)``, so that no
    input makes the scale vanish or explode.

    Args:
        in_channels: C of the prior's encoder, C + K of the posterior's.
        latent_dim: L.
        channels: Widths of the levels.
        convolutions: 3x3 convolutions a level.
        norm: ``None`` (as published), ``"batch"``, ``"group"`` or ``"instance"``.
        log_scale_bound: Largest absolute value of log sigma.

    Raises:
        OptionError: No level, an unknown normalisation or a bound that is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        latent_dim: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 192),
        convolutions: int = 3,
        norm: str | None = None,
        log_scale_bound: float = 5.0,
    ) -> None:
        super().__init__()
        widths = check_widths(channels, convolutions)
        self.context_features = widths[-1]
        self.log_scale_bound = check_number("log_scale_bound", log_scale_bound)
        self.blocks = nn.ModuleList(
            convolution_block(a, b, convolutions=convolutions, norm=norm)
            for a, b in pairwise((in_channels, *widths))
        )
        self.head = nn.Linear(widths[-1], 2 * latent_dim)  # a 1x1 convolution after the mean
        nn.init.kaiming_normal_(self.head.weight, nonlinearity="linear")
        nn.init.trunc_normal_(self.head.bias, std=1e-3, a=-2e-3, b=2e-3)

    def forward(self, image: Tensor) -> tuple[Distribution, Tensor]:
        """Return the density, batch (B,) and event (L,), and the pooled features (B, c)."""
        features = image
        for level, block in enumerate(self.blocks):
            features = block(_halved(features) if level else features)
        with torch.autocast(image.device.type, enabled=False):  # densities need full precision
            context = features.to(self.head.weight.dtype).mean(dim=(2, 3))
            mean, raw = in_single_precision(self.head(context)).chunk(2, dim=-1)
            log_scale = self.log_scale_bound * torch.tanh(raw / self.log_scale_bound)
            normal = Normal(mean, log_scale.exp(), validate_args=False)
            return Independent(normal, 1, validate_args=False), context


def _halved(features: Tensor) -> Tensor:
    # rounding up lets the smallest images through, and changes nothing where the stride divides
    return functional.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)
