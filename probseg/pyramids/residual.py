"""The encoder of the hierarchical Probabilistic U-Net (Kohl et al., 2019): residual blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from probseg.backbones.blocks import check_widths, residual_blocks
from probseg.options import check_integer
from probseg.pyramids.unet import PooledPyramid


class ResidualPyramid(PooledPyramid):
    """Levels of pre-activation residual blocks, with average pooling between them.

    Published for images of 128 x 128 are eight levels, 24, 48, 96 and five times 192 wide; the
    default has seven, for 64 x 64.

    Args:
        in_channels: C of the image.
        channels: Widths of the levels, from full resolution down.
        blocks: Residual blocks a level, see :func:`probseg.backbones.blocks.residual_blocks`.
        norm: ``None`` (as published), ``"batch"``, ``"group"`` or ``"instance"``.

    Raises:
        OptionError: No level or no block, or an unknown normalisation.

    References:
        Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities",
        2019, arXiv 1905.13077.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (24, 48, 96, 192, 192, 192, 192),
        blocks: int = 3,
        norm: str | None = None,
    ) -> None:
        check_integer("blocks", blocks)

        def level(before: int, after: int) -> nn.Module:
            return residual_blocks(before, after, blocks=blocks, norm=norm)

        super().__init__(in_channels, check_widths(channels, blocks), level)
