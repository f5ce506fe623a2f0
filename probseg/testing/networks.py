"""The contracts of networks: backbones, latent encoders and decoders.

A backbone turns (B, C, H, W) into (B, F, H, W); an encoder (B, C [+ K], H, W) into a density over
(L,) and a context (B, c); a decoder features (B, F, H, W) and latent samples (..., B, L) into
logits (..., B, K, H, W).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from probseg.registry import registry
from probseg.testing.contract import (
    PRECISELY,
    Contract,
    Make,
    as_fitted,
    autocast,
    channels_last,
    double,
    evaluating,
    expect,
    expect_close,
    expect_dependence,
    expect_gradients,
    expect_precision,
    expect_same_weights,
    expect_separate_images,
    expect_shape,
    expect_spread,
    expect_success,
)

backbones = Contract("backbone")
encoders = Contract("encoder")
decoders = Contract("decoder")

BATCH, CHANNELS, FEATURES, LATENT, CLASSES, HEIGHT, WIDTH = 2, 3, 6, 5, 3, 8, 12
DECODER = {"in_channels": FEATURES, "latent_dim": LATENT, "classes": CLASSES}
WIDTHS = (torch.bfloat16, torch.float32)  # of features under autocast
SMALLEST_SIDE = 48  # of a backbone's image in pixels, more than its deepest level needs


@backbones
def features_have_the_size_of_the_image(make: Make) -> None:
    """Sizes that its stride divides come back as they went in, with ``out_channels`` maps."""
    backbone = evaluating(make(in_channels=CHANNELS))
    side = _side(backbone)
    for height, width in [(side, 2 * side), (2 * side, side)]:
        features = backbone(torch.rand(2, CHANNELS, height, width))
        expect_shape(features, (2, backbone.out_channels, height, width), "features")
        expect(features.dtype == torch.float32, "float32 features of such images", features.dtype)


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
def features_are_learnt_as_fit_runs_it(make: Make) -> None:
    """Under bf16 autocast, images and weights in channels-last, features and gradients are finite.

    There ``x.reshape`` works where ``x.view`` does not, and tensors are in bfloat16 or float32.
    """
    backbone = as_fitted(make(in_channels=CHANNELS))
    with autocast():
        features = backbone(channels_last(_images(backbone)))
    expect(features.dtype in WIDTHS, "features in bfloat16 or float32", features.dtype)
    expect_gradients(backbone, features.float().square().mean())


@backbones
def weights_are_all_there_is(make: Make) -> None:
    """A second backbone with the first one's ``state_dict`` gives the same features."""
    backbone = make(in_channels=CHANNELS)
    expect(isinstance(backbone, nn.Module), "a torch.nn.Module", type(backbone).__name__)
    images = _images(backbone)
    expect_same_weights(partial(make, in_channels=CHANNELS), lambda part: part(images))


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
        expect_spread(density, of=f"at images of {magnitude:g}")


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
    advice = "give a mixture one by the straight-through Gumbel-softmax"
    with expect_success(f"a density with rsample, through which gradients flow; {advice}"):
        sample = density.rsample()
    expect_gradients(encoder, sample.square().sum() + context.square().sum())


@encoders
def encoder_weights_are_all_there_is(make: Make) -> None:
    """A second encoder with the first one's ``state_dict`` gives the same density and context."""
    images = torch.rand(2, CHANNELS, 16, 16)
    expect_same_weights(lambda: _encoder(make), lambda part: _density(part, images))


@encoders
def density_is_compared_with_another(make: Make) -> None:
    """The registered ``"kl"`` between the densities of two images is finite, either way."""
    encoder, divergence = _encoder(make), registry("divergences").create("kl")
    densities = [encoder(4 * torch.randn(2, CHANNELS, 16, 16))[0] for _ in range(2)]
    for q, p in (densities, densities[::-1]):
        with expect_success("densities to compare, by rsample and log_prob"):
            number = divergence(q, p)
        told = "a finite KL divergence between two images, whose densities have the same support"
        expect(number.isfinite().all(), told, number.tolist())


@encoders
def density_is_learnt_as_fit_runs_it(make: Make) -> None:
    """Under bf16 autocast, images and weights in channels-last, the density is in float32."""
    encoder = as_fitted(make(in_channels=CHANNELS, latent_dim=LATENT))
    with autocast():
        density, context = encoder(channels_last(torch.rand(2, CHANNELS, 16, 24)))
    with expect_success(f"samples {PRECISELY}"):
        sample = density.rsample()
        log_prob = density.log_prob(sample)
    expect_precision({"a context": context, "a sample": sample, "log_prob": log_prob})
    expect_gradients(encoder, sample.square().sum() + log_prob.sum() + context.square().sum())


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


@decoders
def decoder_weights_are_all_there_is(make: Make) -> None:
    """A second decoder with the first one's ``state_dict`` gives the same logits."""
    features, latent = _features(), _latent(2)
    expect_same_weights(lambda: _decoder(make), lambda part: part(features, latent))


@decoders
def logits_are_learnt_as_fit_runs_it(make: Make) -> None:
    """Under bf16 autocast, with features in channels-last, logits and gradients are finite.

    Features come in bfloat16 or in float32, latent samples in float32.
    """
    decoder = as_fitted(make(**DECODER))
    for width in WIDTHS:
        features, latent = channels_last(_features().to(width)), _latent(2).float()
        with autocast():
            logits = decoder(features, latent)
            with torch.no_grad():
                sampled = decoder(features, latent)
        expect_shape(sampled, tuple(logits.shape), "logits without gradients")
        expect(sampled.isfinite().all(), "finite logits", "NaN or infinity")
        expect_gradients(decoder, logits.float().square().sum())


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
    at_zero = density.log_prob(images.new_zeros(len(images), LATENT))
    return torch.cat([at_zero[:, None], context], dim=-1)


def _decoder(make: Make) -> Any:
    return evaluating(double(make(**DECODER)))


def _features() -> Tensor:
    return torch.randn(BATCH, FEATURES, HEIGHT, WIDTH, dtype=torch.float64)


def _latent(*shape: int) -> Tensor:
    return torch.randn(*shape, BATCH, LATENT, dtype=torch.float64)
