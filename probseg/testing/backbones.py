"""The contract of a backbone: (B, C, H, W) -> (B, F, H, W)."""

from __future__ import annotations

import math

import torch
from torch import nn

from probseg.testing.contract import (
    Contract,
    Make,
    double,
    evaluating,
    expect,
    expect_close,
    expect_gradients,
    expect_shape,
)

contract = Contract("backbone", "backbones")

CHANNELS = 3
SMALLEST_SIDE = 48  # in pixels, more than a network's deepest level needs


@contract
def features_have_the_size_of_the_image(make: Make) -> None:
    """Sizes that its stride divides come back as they went in, with ``out_channels`` maps."""
    backbone = evaluating(make(in_channels=CHANNELS))
    side = _side(backbone)
    for height, width in [(side, 2 * side), (2 * side, side)]:
        features = backbone(torch.rand(2, CHANNELS, height, width))
        expect_shape(features, (2, backbone.out_channels, height, width), "features")


@contract
def an_image_ignores_its_batch(make: Make) -> None:
    """In evaluation mode an image's features do not depend on the other images of its batch."""
    backbone = evaluating(make(in_channels=CHANNELS))
    images = _images(backbone)
    together, alone = backbone(images), backbone(images[:1])
    expect_close(together[:1], alone, "one image's features alone as in a batch", tolerance=1e-4)


@contract
def features_depend_on_every_channel(make: Make) -> None:
    """Changing any one channel of the image changes its features."""
    backbone = evaluating(double(make(in_channels=CHANNELS)))
    image = _images(backbone)[:1].double()  # an untrained deep network lets little through
    features = backbone(image)
    for channel in range(CHANNELS):
        changed = image.clone()
        changed[:, channel] += 1
        differs = (backbone(changed) - features).abs().max() > 0
        expect(differs, f"features that depend on channel {channel}", "the same features")


@contract
def every_parameter_gets_a_gradient(make: Make) -> None:
    """In training mode the features depend on every parameter."""
    backbone = make(in_channels=CHANNELS)
    expect_gradients(backbone, backbone(_images(backbone)).square().mean())


@contract
def weights_are_all_there_is(make: Make) -> None:
    """A second backbone with the first one's ``state_dict`` gives the same features."""
    first, second = make(in_channels=CHANNELS), make(in_channels=CHANNELS)
    expect(isinstance(first, nn.Module), "a torch.nn.Module", type(first).__name__)
    second.load_state_dict(first.state_dict())
    images = _images(first)
    expected, actual = first.eval()(images), second.eval()(images)
    expect_close(actual, expected, "the same features from the same weights")


def _side(backbone: object) -> int:
    stride = getattr(backbone, "stride", None)
    positive = isinstance(stride, int) and stride > 0
    expect(positive, "a positive integer as attribute stride", stride)
    step = int(stride or 1)
    return step * math.ceil(SMALLEST_SIDE / step)


def _images(backbone: object) -> torch.Tensor:
    side = _side(backbone)
    return torch.rand(3, CHANNELS, side, side)
