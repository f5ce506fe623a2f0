"""The encoder of a U-Net (Ronneberger et al., 2015), with average pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from probseg.backbones.blocks import check_widths, convolution_block


class PooledPyramid(nn.Module):
    """Levels of one block each, with average pooling between them.

    Args:
        in_channels: C of the image.
        channels: Widths of the levels, from full resolution down.
        block: Makes the network of a level from its numbers of channels before and after.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], block: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.stride = 2 ** (len(self.channels) - 1)
        self.levels = nn.ModuleList(block(a, b) for a, b in pairwise((in_channels, *channels)))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features (B, F_l, H / 2^l, W / 2^l) of each level l, the finest first."""
        features: list[Tensor] = []
        for level in self.levels:
            features.append(level(functional.avg_pool2d(features[-1], 2) if features else image))
        return features


class UNetPyramid(PooledPyramid):
    """Levels of 3x3 convolutions and ReLUs, with average pooling between them.

    Args:
        in_channels: C of the image.
        channels: Widths of the levels, from full resolution down.
        convolutions: 3x3 convolutions a level.
        norm: ``None``, ``"batch"``, ``"group"`` or ``"instance"``.

    Raises:
        OptionError: No level, or an unknown normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 192, 192, 192, 192),
        convolutions: int = 3,
        norm: str | None = None,
    ) -> None:
        def block(before: int, after: int) -> nn.Module:
            return convolution_block(before, after, convolutions=convolutions, norm=norm)

        super().__init__(in_channels, check_widths(channels, convolutions), block)
