"""The contracts of networks: backbones, latent encoders and decoders.

A backbone turns (B, C, H, W) into (B, F, H, W); an encoder (B, C [+ K], H, W) into a density over
(L,) and a context (B, c); a decoder features (B, F, H, W) and latent samples (..., B, L) into
logits (..., B, K, H, W).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from probseg.testing.contract import (
    Contract,
    Make,
    double,
    evaluating,
    expect,
    expect_close,
    expect_dependence,
    expect_gradients,
    expect_separate_images,
    expect_shape,
)

backbones = Contract("backbone")
encoders = Contract("encoder")
decoders = Contract("decoder")

BATCH, CHANNELS, FEATURES, LATENT, CLASSES, HEIGHT, WIDTH = 2, 3, 6, 5, 3, 8, 12
DECODER = {"in_channels": FEATURES, "latent_dim": LATENT, "classes": CLASSES}
SMALLEST_SIDE = 48  # of a backbone's image in pixels, more than its deepest level needs


@backbones
def features_have_the_size_of_the_image(make: Make) -> None:
    """Sizes that its stride divides come back as they went in, with ``out_channels`` maps."""
    backbone = evaluating(make(in_channels=CHANNELS))
    side = _side(backbone)
    for height, width in [(side, 2 * side), (2 * side, side)]:
        features = backbone(torch.rand(2, CHANNELS, height, width))
        expect_shape(features, (2, backbone.out_channels, height, width), "features")


@backbones
def features_ignore_the_batch(make: Make) -> None:
    """In evaluation mode an image's features do not depend on the other images of its batch."""
    backbone = evaluating(make(in_channels=CHANNELS))
    expect_separate_images(backbone, _images(backbone), tolerance=1e-4)


@backbones
def features_depend_on_every_channel(make: Make) -> None:
    """Changing any one channel of the image changes its features."""
    backbone = evaluating(double(make(in_channels=CHANNELS)))
    image = _images(backbone)[:1].double()  # an untrained deep network lets little through
    expect_dependence(backbone, image, "channel")


@backbones
def features_reach_every_parameter(make: Make) -> None:
    """In training mode the features depend on every parameter."""
    backbone = make(in_channels=CHANNELS)
    expect_gradients(backbone, backbone(_images(backbone)).square().mean())


@backbones
def weights_are_all_there_is(make: Make) -> None:
    """A second backbone with the first one's ``state_dict`` gives the same features."""
    first, second = make(in_channels=CHANNELS), make(in_channels=CHANNELS)
    expect(isinstance(first, nn.Module), "a torch.nn.Module", type(first).__name__)
    second.load_state_dict(first.state_dict())
    images = _images(first)
    expected, actual = first.eval()(images), second.eval()(images)
    expect_close(actual, expected, "the same features from the same weights")


@encoders
def density_and_context_have_their_shapes(make: Make) -> None:
    """Batch (B,), event (L,), and ``context_features`` numbers per image; also for one image."""
    encoder = _encoder(make)
    for images in (torch.rand(2, CHANNELS, 16, 24), torch.rand(1, CHANNELS, 17, 9)):
        density, context = encoder(images)
        expect(isinstance(density, Distribution), "a Distribution", type(density).__name__)
        batch = len(images)
        shapes = (tuple(density.batch_shape), tuple(density.event_shape))
        expect(shapes == ((batch,), (LATENT,)), f"batch ({batch},), event ({LATENT},)", shapes)
        expect_shape(context, (batch, encoder.context_features), "a context")


@encoders
def scale_is_positive_and_bounded(make: Make) -> None:
    """No image, however large its values, gives a spread that vanishes or overflows."""
    encoder = _encoder(make)
    for magnitude in (0.0, 1.0, 1e3, 1e6):
        density, _ = encoder(magnitude * torch.randn(4, CHANNELS, 16, 16))
        spread = density.stddev.detach()
        good = bool((spread > 1e-6).all() and (spread < 1e6).all())
        actual = f"{float(spread.min()):.3g} to {float(spread.max()):.3g}"
        expect(good, f"a standard deviation within 1e-6 and 1e6 at images of {magnitude:g}", actual)


@encoders
def density_depends_on_every_channel(make: Make) -> None:
    """The image's and the label's channels each change the density."""
    encoder = _encoder(make)
    image = torch.rand(1, CHANNELS, 16, 16)
    expect_dependence(lambda images: _density(encoder, images), image, "channel")


@encoders
def density_ignores_the_batch(make: Make) -> None:
    """In evaluation mode an image's density does not depend on the other images of its batch."""
    encoder = double(_encoder(make))
    images = torch.rand(3, CHANNELS, 16, 16, dtype=torch.float64)
    expect_separate_images(lambda images: _density(encoder, images), images)


@encoders
def density_reaches_every_parameter(make: Make) -> None:
    """A sample of the density and the context depend on every parameter."""
    encoder = make(in_channels=CHANNELS, latent_dim=LATENT)
    density, context = encoder(torch.rand(2, CHANNELS, 16, 16))
    loss = density.rsample().square().sum() + context.square().sum()
    expect_gradients(encoder, loss)


@decoders
def logits_have_their_shape(make: Make) -> None:
    """One set of logits per latent sample, for any number of leading axes and for one image."""
    decoder = _decoder(make)
    for batch in (BATCH, 1):
        for shape in ((), (5,), (2, 3)):
            logits = decoder(_features()[:batch], _latent(*shape)[..., :batch, :])
            expect_shape(logits, (*shape, batch, CLASSES, HEIGHT, WIDTH), "logits")


@decoders
def samples_at_once_equal_samples_one_by_one(make: Make) -> None:
    """The logits of n samples together are those of each alone."""
    decoder, features, latent = _decoder(make), _features(), _latent(5)
    together = decoder(features, latent)
    alone = torch.stack([decoder(features, z) for z in latent])
    expect_close(together, alone, "n samples at once as one by one", tolerance=1e-8)


@decoders
def logits_ignore_the_batch(make: Make) -> None:
    """An image's logits read its own features and its own latent sample only."""
    decoder, latent = _decoder(make), _latent(2).transpose(0, 1)  # (B, n, L)

    def read(features: Tensor, z: Tensor) -> Tensor:
        logits: Tensor = decoder(features, z.transpose(0, 1))
        return logits.transpose(0, 1)

    expect_separate_images(read, _features(), latent, tolerance=1e-8)


@decoders
def logits_depend_on_latent_and_features(make: Make) -> None:
    """Another latent sample or other features give other logits, whichever number changes."""
    decoder, features, latent = _decoder(make), _features(), _latent()
    expect_dependence(lambda z: decoder(features, z), latent, "latent dimension")
    expect_dependence(lambda maps: decoder(maps, latent), features, "feature")


@decoders
def logits_reach_every_parameter(make: Make) -> None:
    """The logits depend on every parameter."""
    decoder = double(make(**DECODER))
    expect_gradients(decoder, decoder(_features(), _latent(2)).square().sum())


def _side(backbone: object) -> int:
    stride = getattr(backbone, "stride", None)
    positive = isinstance(stride, int) and stride > 0
    expect(positive, "a positive integer as attribute stride", stride)
    step = int(stride or 1)
    return step * math.ceil(SMALLEST_SIDE / step)


def _images(backbone: object) -> Tensor:
    side = _side(backbone)
    return torch.rand(3, CHANNELS, side, side)


def _encoder(make: Make) -> Any:
    return evaluating(make(in_channels=CHANNELS, latent_dim=LATENT))


def _density(encoder: Any, images: Tensor) -> Tensor:
    density, context = encoder(images)
    return torch.cat([density.mean, density.stddev, context], dim=-1)


def _decoder(make: Make) -> Any:
    return evaluating(double(make(**DECODER)))


def _features() -> Tensor:
    return torch.randn(BATCH, FEATURES, HEIGHT, WIDTH, dtype=torch.float64)


def _latent(*shape: int) -> Tensor:
    return torch.randn(*shape, BATCH, LATENT, dtype=torch.float64)
