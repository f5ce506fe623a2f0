"""The contract of a latent encoder: (B, C [+ K], H, W) -> density over (L,), context (B, c)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

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

contract = Contract("encoder", "encoders")

CHANNELS, LATENT = 3, 5


@contract
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


@contract
def scale_is_positive_and_bounded(make: Make) -> None:
    """No image, however large its values, gives a spread that vanishes or overflows."""
    encoder = _encoder(make)
    for magnitude in (0.0, 1.0, 1e3, 1e6):
        density, _ = encoder(magnitude * torch.randn(4, CHANNELS, 16, 16))
        spread = density.stddev.detach()
        good = bool((spread > 1e-6).all() and (spread < 1e6).all())
        actual = f"{float(spread.min()):.3g} to {float(spread.max()):.3g}"
        expect(good, f"a standard deviation within 1e-6 and 1e6 at images of {magnitude:g}", actual)


@contract
def density_depends_on_every_channel(make: Make) -> None:
    """The image's and the label's channels each change the density."""
    encoder = _encoder(make)
    image = torch.rand(1, CHANNELS, 16, 16)
    for channel in range(CHANNELS):
        changed = image.clone()
        changed[:, channel] = 1 - changed[:, channel]
        differs = (_summary(encoder, changed) - _summary(encoder, image)).abs().max() > 0
        expect(differs, f"a density that depends on channel {channel}", "the same density")


@contract
def an_image_ignores_its_batch(make: Make) -> None:
    """In evaluation mode an image's density does not depend on the other images of its batch."""
    encoder = double(_encoder(make))
    images = torch.rand(3, CHANNELS, 16, 16, dtype=torch.float64)
    together, alone = _summary(encoder, images)[:1], _summary(encoder, images[:1])
    expect_close(together, alone, "one image's density alone as in a batch")


@contract
def every_parameter_gets_a_gradient(make: Make) -> None:
    """A sample of the density and the context depend on every parameter."""
    encoder = make(in_channels=CHANNELS, latent_dim=LATENT)
    density, context = encoder(torch.rand(2, CHANNELS, 16, 16))
    loss = density.rsample().square().sum() + context.square().sum()
    expect_gradients(encoder, loss)


def _encoder(make: Make) -> Any:
    return evaluating(make(in_channels=CHANNELS, latent_dim=LATENT))


def _summary(encoder: Any, images: Tensor) -> Tensor:
    density, context = encoder(images)
    return torch.cat([density.mean, density.stddev, context], dim=-1)
