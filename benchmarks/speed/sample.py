"""Many samples of an image, from its features or from the image on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

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


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the tables of this topic."""
    batch, few, many = settings.size(8, 2), settings.size(16, 3), settings.size(100, 5)
    cases = ((batch, few), (batch, many), (1, many))
    for case in cases:
        yield _decoding(settings, *case)
    for case in cases[:1] if settings.device == "cpu" else (*cases, (256, few)):
        yield _whole(settings, *case)


def _decoding(settings: Settings, batch: int, count: int) -> Comparison:
    title, options = _case(settings, batch, count)
    return compare(
        f"{title}, features known",
        [
            Candidate(name=OURS, make=Decoding, options=options),
            Candidate(name="textbook loop", make=TextbookDecoding, options=options, agree=agree),
        ],
        settings,
        floor=_floor(settings, count * batch * options["size"] ** 2),
    )


def _whole(settings: Settings, batch: int, count: int) -> Comparison:
    title, options = _case(settings, batch, count)
    candidates = [
        Candidate(name=OURS, make=Sampling, options=options),
        Candidate(name="probseg, bf16", make=Sampling, options=options | {"bf16": True}),
        Candidate(name="textbook", make=TextbookSampling, options=options),
    ]
    return compare(f"{title}, from the image on", candidates, settings)


def _case(settings: Settings, batch: int, count: int) -> tuple[str, dict[str, Any]]:
    """Return the title of a table and the options of its workloads."""
    size = settings.size(128, 16)
    title = f"{count} samples of {batch} image{'s' * (batch > 1)} of {size} × {size}"
    return title, {"batch": batch, "count": count, "size": size, "device": settings.device}


def _floor(settings: Settings, pixels: int) -> Floor:
    decoder: Any = build_model().decoder
    layers = [*decoder.hidden, decoder.logits]
    return settings.floor(2 * pixels * sum(layer.weight.numel() for layer in layers), "fp32")


def build_model(options: Mapping[str, Any] | None = None) -> Any:
    """Return a seeded model, a ``punet`` if nothing is said."""
    torch.manual_seed(0)
    return probseg.build(**(options or {"name": "punet"})).eval()


class _Decoding(Workload):
    """Features (B, F, H, W) and latent samples (n, B, L) that every candidate decodes."""

    def __init__(self, *, batch: int, size: int, device: str, count: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.features = torch.rand(batch, 32, size, size, generator=generator).to(device)
        self.latents = torch.randn(count, batch, 6, generator=generator).to(device)
        self.device = device
        self.model = build_model().to(device)

    def answer(self) -> Any:
        """Return them as an array, on a GPU without TF32, which convolutions have by default."""
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self.run().cpu().numpy()


class Decoding(_Decoding):
    """The decoder of a probseg model, as ``sample`` calls it."""

    @torch.no_grad()
    def run(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        return probabilities(self.model.decoder(self.features, self.latents))


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


class Sampling(Workload):
    """``sample`` of a model in channels last, with autocast to bf16 if asked for."""

    def __init__(
        self,
        *,
        count: int,
        bf16: bool = False,
        model: Mapping[str, Any] | None = None,
        batch: int,
        size: int,
        device: str,
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        self.image = torch.rand(batch, 1, size, size, generator=generator).to(device)
        self.model = build_model(model).to(device, memory_format=torch.channels_last)
        self.count, self.device, self.bf16 = count, device, bf16

    def run(self) -> Tensor:
        """Return probabilities (n, B, K, H, W)."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            samples: Tensor = self.model.sample(self.image, self.count)
        return samples


class TextbookSampling(Sampling):
    """The textbook's network, from the image on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.model = TextbookPUNet().to(self.device)


def agree(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> str:
    """Say how well two sets of probabilities agree.

    Raises:
        Disagreement: They differ by more than the tolerance.
    """
    worst = float(np.abs(ours - theirs).max())
    if worst > TOLERANCE:
        raise Disagreement(f"probabilities differ by {worst:.1e}, more than {TOLERANCE:.0e}")
    return f"to {worst:.0e}"
