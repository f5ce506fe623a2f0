"""A small latent model and a data set in memory, enough for every path through training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional

from probseg.interfaces import Batch, Sample
from probseg.training import TrainingSettings


class ToyModel(nn.Module):
    """A conditional VAE of five convolutions that draws from torch's global generator."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {"name": "toy", "dropout": dropout}
        self.in_channels, self.classes, self.latent_dim = 1, 2, 3
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(dropout)
        )
        self.prior_net = nn.Conv2d(1, 6, 3)
        self.posterior_net = nn.Conv2d(2, 6, 3)
        self.head = nn.Conv2d(11, 2, 1)

    def prior(self, image: Tensor) -> Distribution:
        return _density(self.prior_net(image))

    def posterior(self, image: Tensor, label: Tensor) -> Distribution:
        return _density(self.posterior_net(torch.cat([image, label[:, None] - 0.5], dim=1)))

    def logits(self, image: Tensor, z: Tensor) -> Tensor:
        field = z[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return self.head(torch.cat([self.features(image), field], dim=1))

    def loss(
        self, image: Tensor, label: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        q, p = self.posterior(image, label), self.prior(image)
        logits = self.logits(image, q.rsample())
        entropy = functional.cross_entropy(logits.float(), label, reduction="sum") / len(image)
        return {"cross_entropy": entropy, "kl": kl_divergence(q, p).mean()}

    def sample(self, image: Tensor, n: int, *, generator: Generator | None = None) -> Tensor:
        p = self.prior(image)
        return torch.stack([self.logits(image, p.sample()).softmax(1) for _ in range(n)])


def _density(parameters: Tensor) -> Distribution:
    mean, log_scale = parameters.float().mean(dim=(2, 3)).chunk(2, dim=1)
    return Independent(Normal(mean, log_scale.exp()), 1)


class Discs:
    """Noisy discs; annotator ``a`` draws them with a radius of 3 + a pixels."""

    name, channels, classes, annotators = "discs", 1, 2, 4
    provenance = "discs drawn in memory"

    def __init__(self, count: int, *, seed: int = 0, size: int = 16) -> None:
        self.groups = [str(index) for index in range(count)]
        self.fingerprint = f"{count}-{seed}-{size}"
        generator = torch.Generator().manual_seed(seed)
        centre = 5 + torch.rand(count, 2, generator=generator) * (size - 10)
        axis = torch.arange(size)
        squares = [(axis - centre[:, i, None]).square() for i in (0, 1)]
        distance = (squares[0][:, :, None] + squares[1][:, None, :]).sqrt()
        radius = torch.arange(3, 7)[None, :, None, None]
        self.masks = (distance[:, None] < radius).to(torch.uint8)
        noise = 0.1 * torch.rand(count, 1, size, size, generator=generator)
        self.present: Tensor | None = None
        self.images = 0.8 * self.masks.float().mean(dim=1, keepdim=True) + noise

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        present = None if self.present is None else self.present[index]
        return Sample(self.images[index], self.masks[index], self.groups[index], present)

    def batch(self, indices: Sequence[int]) -> Batch:
        chosen = list(indices)
        present = None if self.present is None else self.present[chosen]
        return Batch(self.images[chosen], self.masks[chosen], present)


def make_model(seed: int = 0, **options: Any) -> ToyModel:
    torch.manual_seed(seed)
    return ToyModel(**options)


def quick(**changes: Any) -> TrainingSettings:
    """A run of 12 steps in 4 rounds."""
    settings = {"learning_rate": 1e-2, "batch_size": 4, "max_steps": 12, "validate_every": 3}
    settings |= {"device": "cpu", "precision": "fp32", "channels_last": False}
    return TrainingSettings(**(settings | changes))
