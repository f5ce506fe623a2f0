"""The contract of pyramids, which turn (B, C, H, W) into maps (B, F_l, H / 2^l, W / 2^l)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from probseg.testing.contract import (
    Contract,
    Make,
    as_fitted,
    autocast,
    channels_last,
    double,
    evaluating,
    expect,
    expect_dependence,
    expect_gradients,
    expect_same_weights,
    expect_separate_images,
    expect_shape,
)

pyramids = Contract("pyramid")

CHANNELS = 3
WIDTHS = (torch.bfloat16, torch.float32)  # of features under autocast
SMALLEST_SIDE = 48  # of an image in pixels, more than a normalisation at the coarsest level needs


@pyramids
def levels_halve(make: Make) -> None:
    """Level l has ``channels[l]`` maps, 2^l times smaller than an image that the stride divides."""
    pyramid = evaluating(make(in_channels=CHANNELS))
    side = _side(pyramid)
    for height, width in [(side, 2 * side), (2 * side, side)]:
        maps = pyramid(torch.rand(2, CHANNELS, height, width))
        expect(len(maps) == len(pyramid.channels), f"{len(pyramid.channels)} levels", len(maps))
        for level, (features, count) in enumerate(zip(maps, pyramid.channels, strict=True)):
            shape = (2, count, height >> level, width >> level)
            expect_shape(features, shape, f"features of level {level}")
            expect(features.dtype == torch.float32, "float32 features", features.dtype)


@pyramids
def levels_ignore_the_batch(make: Make) -> None:
    """In evaluation mode an image's features do not depend on the other images of its batch."""
    pyramid = evaluating(make(in_channels=CHANNELS))
    expect_separate_images(lambda images: _flat(pyramid(images)), _images(pyramid), tolerance=1e-4)


@pyramids
def every_level_depends_on_every_channel(make: Make) -> None:
    """Changing any one channel of the image changes the features of each level."""
    pyramid = evaluating(double(make(in_channels=CHANNELS)))
    image = _images(pyramid)[:1].double()
    for level in range(len(pyramid.channels)):

        def read(images: Tensor, level: int = level) -> Tensor:
            features: Tensor = pyramid(images)[level]
            return features

        expect_dependence(read, image, "channel")


@pyramids
def levels_reach_every_parameter(make: Make) -> None:
    """In training mode the features depend on every parameter."""
    pyramid = make(in_channels=CHANNELS)
    expect_gradients(pyramid, _flat(pyramid(_images(pyramid))).square().mean())


@pyramids
def levels_are_learnt_as_fit_runs_it(make: Make) -> None:
    """Under bf16 autocast, images and weights in channels-last, features and gradients are finite.

    There ``x.reshape`` works where ``x.view`` does not, and tensors are in bfloat16 or float32.
    """
    pyramid = as_fitted(make(in_channels=CHANNELS))
    with autocast():
        maps = pyramid(channels_last(_images(pyramid)))
    for features in maps:
        expect(features.dtype in WIDTHS, "features in bfloat16 or float32", features.dtype)
    expect_gradients(pyramid, _flat(maps).square().mean())


@pyramids
def weights_are_all_there_is(make: Make) -> None:
    """A second pyramid with the first one's ``state_dict`` gives the same features."""
    pyramid = make(in_channels=CHANNELS)
    expect(isinstance(pyramid, nn.Module), "a torch.nn.Module", type(pyramid).__name__)
    images = _images(pyramid)
    expect_same_weights(partial(make, in_channels=CHANNELS), lambda part: _flat(part(images)))


def _side(pyramid: Any) -> int:
    """Return the smallest multiple of the stride that is large enough."""
    channels, stride = getattr(pyramid, "channels", ()), getattr(pyramid, "stride", None)
    widths = isinstance(channels, tuple) and len(channels) > 0
    expect(widths, "a tuple of the levels' numbers of maps as attribute channels", channels)
    coarsest = 2 ** (len(channels) - 1)
    fits = isinstance(stride, int) and stride > 0 and stride % coarsest == 0
    expect(fits, f"a multiple of {coarsest} as attribute stride", stride)
    step = int(stride or 1)
    return -(-SMALLEST_SIDE // step) * step


def _images(pyramid: Any) -> Tensor:
    side = _side(pyramid)
    return torch.rand(3, CHANNELS, side, side)


def _flat(maps: list[Tensor]) -> Tensor:
    """Return all levels' features of each image in a row, (B, N)."""
    return torch.cat([features.float().flatten(1) for features in maps], dim=1)
