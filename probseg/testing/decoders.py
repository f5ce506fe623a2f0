"""The contract of a decoder: features (B, F, H, W), latent (..., B, L) -> (..., B, K, H, W)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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

contract = Contract("decoder", "decoders")

BATCH, FEATURES, LATENT, CLASSES, HEIGHT, WIDTH = 2, 6, 4, 3, 8, 12


@contract
def logits_have_their_shape(make: Make) -> None:
    """One set of logits per latent sample, for any number of leading axes and for one image."""
    decoder = _decoder(make)
    for batch in (BATCH, 1):
        for shape in ((), (5,), (2, 3)):
            logits = decoder(_features()[:batch], _latent(*shape)[..., :batch, :])
            expect_shape(logits, (*shape, batch, CLASSES, HEIGHT, WIDTH), "logits")


@contract
def samples_at_once_equal_samples_one_by_one(make: Make) -> None:
    """The logits of n samples together are those of each alone."""
    decoder, features, latent = _decoder(make), _features(), _latent(5)
    together = decoder(features, latent)
    alone = torch.stack([decoder(features, z) for z in latent])
    expect_close(together, alone, "n samples at once as one by one", tolerance=1e-8)


@contract
def an_image_ignores_its_batch(make: Make) -> None:
    """An image's logits read its own features and its own latent sample only."""
    decoder, features, latent = _decoder(make), _features(), _latent(2)
    together, alone = decoder(features, latent), decoder(features[:1], latent[:, :1])
    expect_close(together[:, :1], alone, "one image's logits alone as in a batch", tolerance=1e-8)


@contract
def logits_depend_on_latent_and_features(make: Make) -> None:
    """Another latent sample or other features give other logits, whichever number changes."""
    decoder, features, latent = _decoder(make), _features(), _latent()
    logits = decoder(features, latent)
    for number in range(LATENT):
        changed = decoder(features, latent + _unit(LATENT, number))
        _expect_change(logits, changed, f"latent dimension {number}")
    for number in range(FEATURES):
        changed = decoder(features + _unit(FEATURES, number)[:, None, None], latent)
        _expect_change(logits, changed, f"feature {number}")


@contract
def every_parameter_gets_a_gradient(make: Make) -> None:
    """The logits depend on every parameter."""
    decoder = double(_make(make))
    expect_gradients(decoder, decoder(_features(), _latent(2)).square().sum())


def _make(make: Make) -> Any:
    return make(in_channels=FEATURES, latent_dim=LATENT, classes=CLASSES)


def _decoder(make: Make) -> Any:
    return evaluating(double(_make(make)))


def _features() -> Tensor:
    return torch.randn(BATCH, FEATURES, HEIGHT, WIDTH, dtype=torch.float64)


def _latent(*shape: int) -> Tensor:
    return torch.randn(*shape, BATCH, LATENT, dtype=torch.float64)


def _unit(length: int, position: int) -> Tensor:
    return torch.eye(length, dtype=torch.float64)[position]


def _expect_change(before: Tensor, after: Tensor, what: str) -> None:
    expect((after - before).abs().max() > 0, f"logits that depend on {what}", "the same logits")
