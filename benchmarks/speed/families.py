"""A training step and samples of every family, with the networks of the suite ``families``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.comparison import OURS, Candidate, Comparison, Settings, compare
from benchmarks.speed.sample import Sampling, agree
from benchmarks.speed.train import Step
from benchmarks.speed.workers import Workload
from benchmarks.suite.definition import read_suite
from benchmarks.suite.files import find
from probseg.decoders.fcomb import FComb
from probseg.training.execution import kept_memory

DATASET = "lidc"  # whose settings of the profile ``quick`` the models have
SIZES = {"size": 64, "in_channels": 1, "classes": 2}


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the tables of this topic."""
    models = family_models()
    size = {"size": SIZES["size"], "device": settings.device}
    batch = settings.size(16, 2)
    steps = [
        Candidate(name=name, make=Step, options=size | {"batch": batch, "model": model})
        for name, model in models.items()
    ]
    title = f"Training step of each family, {batch} images of {SIZES['size']} × {SIZES['size']}"
    notes = ["Models that learn from all annotators at once see four masks of each image."]
    yield compare(title, steps, settings, notes=notes)
    yield _many_samples(settings, batch)
    few, many = settings.size(16, 2), settings.size(100, 3)
    for images, count in ((settings.size(8, 1), few), (1, many)):
        yield compare(
            f"{count} samples of {images} image{'s' * (images > 1)} by each family",
            [
                Candidate(
                    name=name,
                    make=Sampling,
                    options=size | {"batch": images, "count": count, "model": model},
                )
                for name, model in models.items()
            ],
            settings,
        )


def _many_samples(settings: Settings, batch: int) -> Comparison:
    size, samples = settings.size(64, 8), settings.size(8, 3)
    options = {"batch": batch, "size": size, "samples": samples, "device": settings.device}
    whole = options | {"layer_by_layer": True}
    return compare(
        f"Gradients of {samples} samples of {batch} images of {size} × {size} through the decoder",
        [
            Candidate(name=OURS, make=Gradients, options=options),
            Candidate(name="layer by layer", make=Gradients, options=whole, agree=agree),
        ],
        settings,
        notes=["On a GPU both are the same."],
    )


class Gradients(Workload):
    """The decoder's logits of many samples, forward and backward.

    Args:
        layer_by_layer: Each layer for all pixels, as torch does by itself.
    """

    def __init__(
        self, *, batch: int, size: int, samples: int, device: str, layer_by_layer: bool = False
    ) -> None:
        torch.manual_seed(0)
        self.decoder = FComb(16, 6, 2).to(device)
        features = torch.randn(batch, 16, size, size).to(memory_format=torch.channels_last)
        self.features = features.to(device).requires_grad_()
        self.latents = torch.randn(samples, batch, 6).to(device)
        network = self.decoder.forward
        self.network = _layer_by_layer(self.decoder) if layer_by_layer else network
        kept_memory().__enter__()  # as fit does, for as long as this process lasts

    def run(self) -> Tensor:
        """Return the gradient of the features."""
        loss = self.network(self.features, self.latents).square().mean()
        (gradient, *_) = torch.autograd.grad(loss, [self.features, *self.decoder.parameters()])
        return gradient

    def answer(self) -> Any:
        """Return it as an array, its largest value 1."""
        gradient = self.run()
        return (gradient / gradient.abs().max()).cpu().numpy()


def _layer_by_layer(decoder: FComb) -> Any:
    layers: list[nn.Module] = [nn.ReLU()]
    for layer in decoder.hidden:
        layers += [layer, nn.ReLU()]
    rest = nn.Sequential(*layers, decoder.logits)

    def forward(features: Tensor, latents: Tensor) -> Tensor:
        shared = decoder.from_features(features)
        shifts = decoder.from_latent(latents)[..., None, None]
        return torch.stack([rest(shared + shift) for shift in shifts])

    return forward


def family_models() -> dict[str, dict[str, Any]]:
    """Return what builds each row of the suite, the PU-Net first, all with the same network."""
    suite = read_suite(find("families"))
    settings = suite.profiles["quick"]
    models = {}
    for name in suite.all.models:
        row = suite.models[name]
        built = row.model({**settings.resolve(name, DATASET), **row.settings})
        sizes = {key: SIZES[key] for key in ("in_channels", "classes")}
        models[name] = {**(built or {}), **sizes}
    return models
