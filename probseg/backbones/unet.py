"""The U-Net of Ronneberger et al., 2015, with the widths of Kohl et al., 2018."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from probseg.backbones.blocks import check_widths, convolution_block


class UNet(nn.Module):
    """U-Net with average pooling and bilinear upsampling.

    Args:
        in_channels: C of the image.
        channels: Widths of the levels, from full resolution down.
        convolutions: 3x3 convolutions a level.
        norm: ``None`` (as published), ``"batch"``, ``"group"`` or ``"instance"``.

    Raises:
        OptionError: No level, or an unknown normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 192),
        convolutions: int = 3,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        widths = check_widths(channels, convolutions)
        self.out_channels = widths[0]
        self.stride = 2 ** (len(widths) - 1)

        def block(before: int, after: int) -> nn.Module:
            return convolution_block(before, after, convolutions=convolutions, norm=norm)

        self.down = nn.ModuleList(block(a, b) for a, b in pairwise((in_channels, *widths)))
        self.up = nn.ModuleList(block(a + b, b) for a, b in pairwise(reversed(widths)))

    def forward(self, image: Tensor) -> Tensor:
        """Return features (B, F, H, W) of an image (B, C, H, W) whose sides the stride divides."""
        skips: list[Tensor] = []
        features = image
        for level, block in enumerate(self.down):
            features = block(functional.avg_pool2d(features, 2) if level else features)
            skips.append(features)
        for skip, block in zip(reversed(skips[:-1]), self.up, strict=True):
            upsampled = functional.interpolate(features, scale_factor=2, mode="bilinear")
            features = block(torch.cat([skip, upsampled], dim=1))
        return features
