"""Many samples of an image whose features are computed already."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import probseg
from benchmarks.speed.comparison import (
    OURS,
    Candidate,
    Comparison,
    Disagreement,
    Floor,
    Settings,
    compare,
)
from benchmarks.speed.textbook import TextbookPUNet, copy_weights
from benchmarks.speed.workers import Workload
from probseg.utils.tensors import probabilities

TOLERANCE = 1e-5  # of probabilities


def comparisons(settings: Settings) -> list[Comparison]:
    """Return the tables of this topic."""
    batch, few, many = settings.size(8, 2), settings.size(16, 3), settings.size(100, 5)
    return [_decoding(settings, *case) for case in ((batch, few), (batch, many), (1, many))]


def _decoding(settings: Settings, batch: int, count: int) -> Comparison:
    size = settings.size(128, 16)
    options = {"batch": batch, "count": count, "size": size, "device": settings.device}
    one_by_one = options | {"one_by_one": True}
    return compare(
        f"{count} samples of {batch} image{'s' * (batch > 1)} of {size} × {size}, features known",
        [
            Candidate(name=OURS, make=Decoding, options=options),
            Candidate(name="probseg, one by one", make=Decoding, options=one_by_one, agree=agree),
            Candidate(name="textbook loop", make=TextbookDecoding, options=options, agree=agree),
            Candidate(
                name="lightning-uq-box loop", make=UqBoxDecoding, options=options, agree=agree
            ),
        ],
        settings,
        floor=_floor(settings, count * batch * size * size),
    )


def _floor(settings: Settings, pixels: int) -> Floor:
    decoder: Any = build_model().decoder
    layers = [*decoder.hidden, decoder.logits]
    return settings.floor(2 * pixels * sum(layer.weight.numel() for layer in layers), "fp32")


def build_model() -> Any:
    """Return a seeded ``punet``."""
    torch.manual_seed(0)
    return probseg.build("punet").eval()


class _Decoding(Workload):
    """Features (B, F, H, W) and latent samples (n, B, L) that every candidate decodes."""

    def __init__(self, *, batch: int, size: int, device: str, count: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.features = torch.rand(batch, 32, size, size, generator=generator).to(device)
        self.latents = torch.randn(count, batch, 6, generator=generator).to(device)
        self.device = device
        self.model = build_model().to(device)

    def answer(self) -> Any:
        """Return them as an array."""
        return self.run().cpu().numpy()


class Decoding(_Decoding):
    """The decoder of a probseg model, as ``sample`` calls it, or one sample a call."""

    def __init__(self, *, one_by_one: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.one_by_one = one_by_one

    @torch.no_grad()
    def run(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        decoder = self.model.decoder
        if self.one_by_one:
            return torch.stack([probabilities(decoder(self.features, z)) for z in self.latents])
        return probabilities(decoder(self.features, self.latents))


class TextbookDecoding(_Decoding):
    """The textbook's loop: tile, concatenate, decode, a pass a sample."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.network = TextbookPUNet().to(self.device)
        copy_weights(self.model, self.network)

    @torch.no_grad()
    def run(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        samples = [self.network.decode(self.features, z).softmax(1) for z in self.latents]
        return torch.stack(samples)


class UqBoxDecoding(_Decoding):
    """lightning-uq-box's decoder, a pass a sample."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        from lightning_uq_box.models.prob_unet import Fcomb

        textbook = TextbookPUNet()
        copy_weights(self.model, textbook)
        initializers = {"w": "orthogonal", "b": "normal"}
        self.network = Fcomb(38, 32, 2, 4, initializers=initializers).to(self.device)
        own = [m for m in self.network.modules() if isinstance(m, nn.Conv2d)]
        layers = [textbook.first, *textbook.hidden, textbook.last]
        for copy, layer in zip(own, layers, strict=True):
            copy.load_state_dict(layer.state_dict())

    @torch.no_grad()
    def run(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        return torch.stack([self.network(self.features, z).softmax(1) for z in self.latents])


def agree(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> str:
    """Say how well two sets of probabilities agree.

    Raises:
        Disagreement: They differ by more than the tolerance.
    """
    worst = float(np.abs(ours - theirs).max())
    if worst > TOLERANCE:
        raise Disagreement(f"probabilities differ by {worst:.1e}, more than {TOLERANCE:.0e}")
    return f"to {worst:.0e}"
