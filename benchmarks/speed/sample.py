"""Many samples of an image, once its features are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import probseg
from benchmarks.speed.contest import Contest, Disagreement, Entry, Floor, hold
from benchmarks.speed.machine import wait
from benchmarks.speed.options import Options
from benchmarks.speed.textbook import TextbookPUNet, copy_weights
from probseg.layers import probabilities

BOUND = 1e-5  # of probabilities


def contests(options: Options) -> list[Contest]:
    """Return the tables of this topic."""
    few, many = options.size(16, 3), options.size(100, 5)
    cases = [(options.size(8, 2), few), (options.size(8, 2), many), (1, many)]
    return [_decoding(options, batch, count) for batch, count in cases]


def _decoding(options: Options, batch: int, count: int) -> Contest:
    size = options.size(128, 16)
    known = {"batch": batch, "count": count, "size": size, "device": options.device}
    ours = Entry(name="probseg", make=Ours, options=known)
    one_by_one = known | {"one_by_one": True}
    return hold(
        f"{count} samples of {batch} image{'s' * (batch > 1)} of {size} × {size}, features known",
        [
            ours,
            Entry(name="probseg, one by one", make=Ours, options=one_by_one, agree=same),
            Entry(name="textbook loop", make=Textbook, options=known, agree=same),
            Entry(name="lightning-uq-box loop", make=UqBox, options=known, agree=same),
        ],
        rounds=options.rounds,
        floor=_floor(options, count * batch * size * size),
        watch=options.watch,
    )


def _floor(options: Options, pixels: int) -> Floor:
    decoder: Any = model().decoder
    layers = [*decoder.hidden, decoder.logits]
    flops = 2 * pixels * sum(layer.weight.numel() for layer in layers)
    rate = options.machine.fp32
    return Floor(
        seconds=flops / rate,
        why=f"{flops / 1e9:.1f} GFLOP at the measured {rate / 1e9:,.0f} GFLOP/s in fp32",
    )


def model() -> nn.Module:
    """Return a seeded ``punet``."""
    torch.manual_seed(0)
    made: nn.Module = probseg.build("punet").eval()
    return made


class Decoding(ABC):
    """Features and latent samples that everybody decodes.

    Args:
        batch: B.
        size: H and W.
        device: "cpu" or "cuda".
        count: n.
    """

    def __init__(self, *, batch: int, size: int, device: str, count: int = 16) -> None:
        generator = torch.Generator().manual_seed(1)
        self.features = torch.rand(batch, 32, size, size, generator=generator).to(device)
        self.latents = torch.randn(count, batch, 6, generator=generator).to(device)
        self.device = device
        self.source: Any = model().to(device)

    @torch.no_grad()
    def run(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        found = self.decode()
        wait(self.device)
        return found

    def answer(self) -> np.ndarray[Any, Any]:
        """Return the probabilities."""
        return self.run().cpu().numpy()

    @abstractmethod
    def decode(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""


class Ours(Decoding):
    """The decoder of a probseg model, as ``sample`` calls it, or one sample a call."""

    def __init__(self, *, one_by_one: bool = False, **known: Any) -> None:
        super().__init__(**known)
        self.one_by_one = one_by_one

    def decode(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        decoder = self.source.decoder
        if self.one_by_one:
            return torch.stack([probabilities(decoder(self.features, z)) for z in self.latents])
        return probabilities(decoder(self.features, self.latents))


class Textbook(Decoding):
    """The textbook's loop: tile, concatenate, decode, a pass a sample."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self.network = TextbookPUNet().to(self.device)
        copy_weights(self.source, self.network)

    def decode(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        found = [self.network.decode(self.features, z).softmax(1) for z in self.latents]
        return torch.stack(found)


class UqBox(Decoding):
    """lightning-uq-box's decoder, a pass a sample."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        from lightning_uq_box.models.prob_unet import Fcomb

        textbook = TextbookPUNet()
        copy_weights(self.source, textbook)
        how = {"w": "orthogonal", "b": "normal"}
        self.network = Fcomb(38, 32, 2, 4, initializers=how).to(self.device)
        own = [m for m in self.network.modules() if isinstance(m, nn.Conv2d)]
        layers = [textbook.first, *textbook.hidden, textbook.last]
        for copy, layer in zip(own, layers, strict=True):
            copy.load_state_dict(layer.state_dict())

    def decode(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        return torch.stack([self.network(self.features, z).softmax(1) for z in self.latents])


def same(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> str:
    """Say how far two sets of probabilities differ.

    Raises:
        Disagreement: By more than the bound.
    """
    worst = float(np.abs(ours - theirs).max())
    if worst > BOUND:
        raise Disagreement(f"probabilities differ by {worst:.1e}, more than {BOUND:.0e}")
    return f"to {worst:.0e}"
