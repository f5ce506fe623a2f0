"""The decoder of a hierarchical model, with latents at its coarsest levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional

from probseg.backbones.blocks import (
    convolution_block,
    he_initialised,
    normalisation,
    residual_blocks,
    set_class_prior,
)
from probseg.errors import OptionError
from probseg.options import check_choice, check_integer, check_number
from probseg.utils.tensors import in_single_precision

BLOCKS = ("plain", "residual")


class DecoderLevel(nn.Module):
    r"""One level of the decoder: a 3x3 convolution of a concatenation, and a block.

    .. math:: h = \mathrm{block}(W * [s;\ \mathrm{up}(d);\ \mathrm{up}(z)] + b)

    s are the features of the level (the skip), d those of the coarser level and z its latent, which
    nearest neighbours upsample. The convolution is linear in each of the three, so each has its
    share of W, and what samples have in common is computed once. The shares of d and z are
    transposed convolutions of the coarse maps, which upsample and convolve in one.

    Args:
        skip: Channels of s, and of h.
        below: Channels of d.
        latent: Channels of z; none if zero.
        block: ``"plain"``, a ReLU and further convolutions; or ``"residual"``.
        depth: Convolutions of a plain level, this one included; or residual blocks.
        norm: ``None``, ``"batch"``, ``"group"`` or ``"instance"``.
    """

    def __init__(
        self, skip: int, below: int, latent: int, *, block: str, depth: int, norm: str | None
    ) -> None:
        super().__init__()
        self.widths = (skip, below, latent)
        self.convolution = he_initialised(nn.Conv2d(skip + below + latent, skip, 3, padding=1))
        if block == "residual":
            self.block = residual_blocks(skip, skip, blocks=depth, norm=norm)
        else:
            more = convolution_block(skip, skip, convolutions=depth - 1, norm=norm)
            self.block = nn.Sequential(*normalisation(norm, skip), nn.ReLU(inplace=True), *more)

    def forward(self, skip: Tensor, below: Tensor, latent: Tensor | None = None) -> Tensor:
        """Return h (B, F, 2h, 2w) of s (B, F, 2h, 2w), d (B, F', h, w) and z (B, c, h, w)."""
        coarse = below if latent is None else torch.cat([below, latent.to(below.dtype)], dim=1)
        return self.finish(self.of_skip(skip) + self.of_coarse(coarse))

    def finish(self, convolved: Tensor) -> Tensor:
        """Return h, given the sum of the three shares."""
        features: Tensor = self.block(convolved)
        return features

    def of_skip(self, skip: Tensor) -> Tensor:
        """Return the share of s, with the bias."""
        weight = self.convolution.weight[:, : self.widths[0]]
        return functional.conv2d(skip, weight, self.convolution.bias, padding=1)

    def of_coarse(self, coarse: Tensor, *, first: int = 0) -> Tensor:
        """Return the share of the channels of d and z, in this order, from the ``first`` on."""
        start = self.widths[0] + first
        weight = self.convolution.weight[:, start : start + coarse.shape[1]]
        kernel = _upsampling(weight)
        return functional.conv_transpose2d(coarse, kernel, stride=2, padding=1)

    def of_latent(self, latent: Tensor) -> Tensor:
        """Return the share of z."""
        return self.of_coarse(latent.to(self.convolution.weight.dtype), first=self.widths[1])


class LatentHead(nn.Module):
    """A 1x1 convolution that gives the density of a level's latent, c numbers at each position.

    The logarithm of the scale is bounded as that of
    :class:`probseg.encoders.axis_aligned.AxisAligned`.
    """

    def __init__(self, features: int, latent_channels: int, log_scale_bound: float) -> None:
        super().__init__()
        self.log_scale_bound = log_scale_bound
        self.convolution = nn.Conv2d(features, 2 * latent_channels, 1)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="linear")
        assert self.convolution.bias is not None
        nn.init.trunc_normal_(self.convolution.bias, std=1e-3, a=-2e-3, b=2e-3)

    def forward(self, features: Tensor) -> Distribution:
        """Return a density of batch (B,) and event (c·h·w,), of features (B, F, h, w)."""
        with torch.autocast(features.device.type, enabled=False):  # as densities need it
            narrow = features.to(self.convolution.weight.dtype)
            mean, raw = in_single_precision(self.convolution(narrow)).chunk(2, dim=1)
            log_scale = self.log_scale_bound * torch.tanh(raw / self.log_scale_bound)
            normal = Normal(mean.flatten(1), log_scale.exp().flatten(1), validate_args=False)
            return Independent(normal, 1, validate_args=False)


class TopDown(nn.Module):
    """The decoder from the coarsest features on, with a latent at each of the coarsest levels.

    Scales and levels are counted from the coarsest, which is 0.

    Args:
        channels: Widths of the pyramid, the finest first.
        scales: How many levels have a latent.
        latent_channels: c, numbers of a latent at each position.
        doublings: How many times it doubles the resolution.
        block: ``"plain"`` or ``"residual"``, see :class:`DecoderLevel`.
        depth: Convolutions or residual blocks a level.
        norm: ``None``, ``"batch"``, ``"group"`` or ``"instance"``.
        log_scale_bound: Largest absolute value of log sigma.

    Raises:
        OptionError: An option is out of range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        scales: int,
        latent_channels: int,
        doublings: int,
        block: str = "plain",
        depth: int = 3,
        norm: str | None = None,
        log_scale_bound: float = 5.0,
    ) -> None:
        super().__init__()
        check_choice("block", block, BLOCKS)
        check_integer("depth", depth)
        check_number("log_scale_bound", log_scale_bound)
        self.scales, self.latent_channels = scales, latent_channels
        upwards = list(reversed(channels))
        self.heads = nn.ModuleList(
            LatentHead(width, latent_channels, log_scale_bound) for width in upwards[:scales]
        )
        self.levels = nn.ModuleList(
            DecoderLevel(
                skip,
                below,
                latent_channels if level < scales else 0,
                block=block,
                depth=depth,
                norm=norm,
            )
            for level, (below, skip) in enumerate(pairwise(upwards[: doublings + 1]))
        )

    def up(
        self, level: int, features: list[Tensor], below: Tensor, latent: Tensor | None = None
    ) -> Tensor:
        """Double the resolution once, given those features of a pyramid, the finest first."""
        above: Tensor = self.levels[level](features[-2 - level], below, latent)
        return above


def check_scales(scales: int, levels: int) -> None:
    """Check that a pyramid has a level above those with a latent.

    Raises:
        OptionError: It has not.
    """
    if scales >= levels:
        raise OptionError(
            f"scales={scales} latents need a pyramid of {scales + 1} levels, one more, and this "
            f"one has {levels}; pass scales={max(1, levels - 1)}"
            + (", or more channels" if levels > 1 else " and more channels")
        )


def output_layer(features: int, classes: int, class_prior: Sequence[float] | None) -> nn.Module:
    """Return the 1x1 convolution that gives logits (B, K, H, W) of features (B, F, H, W).

    Args:
        features: F.
        classes: K.
        class_prior: K frequencies whose logarithm is the initial bias.

    Raises:
        OptionError: The frequencies are not K positive numbers.
    """
    logits = he_initialised(nn.Conv2d(features, classes, 1))
    if class_prior is not None:
        set_class_prior(logits, class_prior)
    return logits


def as_map(latent: Tensor, like: Tensor) -> Tensor:
    """Return a latent (B, c·h·w) as (B, c, h, w), of the sides of ``like``."""
    return latent.reshape(len(latent), -1, *like.shape[-2:])


def _upsampling(weight: Tensor) -> Tensor:
    """Return the kernel (I, O, 4, 4) of a transposed convolution of stride 2.

    With padding 1 it does what a 3x3 convolution of weight (O, I, 3, 3) does to an image upsampled
    by nearest neighbours: each of the four copies of a pixel meets the kernel one step further.
    """
    flipped = weight.flip(2, 3).transpose(0, 1)
    shifts = product((0, 1), repeat=2)
    padded = [functional.pad(flipped, (i, 1 - i, j, 1 - j)) for i, j in shifts]
    return torch.stack(padded).sum(0)
