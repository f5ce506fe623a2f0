"""Small models, batches and densities that the tests of the core share."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from hierarchical_models import WITH_PYRAMID, small_hierarchical
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from probseg import build

NET = {"channels": [4, 8], "convolutions": 1}
UNET = {"name": "unet", **NET}
ENCODER = {"name": "axis-aligned", **NET}
RECIPES = ("punet", "2p-planar", "csae")


def small(name: str, **options: Any) -> Any:
    """Build a model of few weights."""
    if name in WITH_PYRAMID:
        return small_hierarchical(name, **options)
    if name == "deterministic":
        return build(name, **{"backbone": UNET, **options})
    return build(name, **{"backbone": UNET, "encoder": ENCODER, **options})


def batch(
    count: int = 2, height: int = 16, width: int = 16, *, channels: int = 1, classes: int = 2
) -> tuple[Tensor, Tensor]:
    """Return random images and labels."""
    image = torch.randn(count, channels, height, width)
    return image, torch.randint(classes, (count, height, width))


def asked(model: Any, label: Tensor) -> Tensor:
    """Return a label (B, H, W) as the model's loss takes it: perhaps as a set of one mask."""
    return label[:, None] if model.all_annotators and label.ndim == 3 else label


def normal(mean: Tensor, scale: Tensor | float) -> Distribution:
    """Return a Normal with independent dimensions, batch (B,) and event (L,)."""
    return Independent(Normal(mean, torch.as_tensor(scale).to(mean).expand_as(mean)), 1)


def shaken(module: nn.Module, scale: float = 0.5) -> nn.Module:
    """Move every weight away from where it starts."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


class Cloud(Distribution):
    """Fixed points (n, B, L) that are "drawn" in order, with given log-probabilities (n, B)."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(self, points: Tensor, log_mass: Tensor | None = None) -> None:
        self.points = points
        self.log_mass = torch.zeros(points.shape[:2]).to(points) if log_mass is None else log_mass
        super().__init__(points.shape[1:2], points.shape[2:], validate_args=False)

    def rsample(self, sample_shape: torch.Size) -> Tensor:
        assert tuple(sample_shape) == (len(self.points),)
        return self.points

    def log_prob(self, value: Tensor) -> Tensor:
        assert value is self.points
        return self.log_mass
