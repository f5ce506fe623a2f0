"""What a divergence takes of a training step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.distributions import Distribution, Independent, Normal

import probseg
from benchmarks.speed.comparison import Candidate, Comparison, Settings, compare
from benchmarks.speed.train import Step
from benchmarks.speed.workers import Workload

AIM = "at most 3 %"
DIVERGENCES = {  # name of the row to its options
    "its divergence": {"name": "sinkhorn"},
    "solver geomloss": {"name": "sinkhorn", "solver": "geomloss"},
    "solver stacked": {"name": "sinkhorn", "solver": "stacked"},
    "exact-ot": {"name": "exact-ot"},
}


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the table of this topic."""
    batch, size = settings.size(32, 4), settings.size(128, 16)
    options = {"batch": batch, "device": settings.device}
    step = Candidate(
        name=f"the cSAE's step, {batch} images of {size} × {size}",
        make=Step,
        options=options | {"size": size, "model": "csae"},
    )
    terms = [
        Candidate(name=name, make=DivergenceTerm, options=options | {"divergence": divergence})
        for name, divergence in DIVERGENCES.items()
    ]
    comparison = compare("Share of the divergence in a training step", [step, *terms], settings)
    shares = ", ".join(f"{row.name} {row.ratio:.2%}" for row in comparison.rows[1:])
    yield replace(comparison, notes=[f"Of the step: {shares} (aim: {AIM})."])


class DivergenceTerm(Workload):
    """The cSAE's projections and divergence of a batch, forward and backward.

    Args:
        batch: B.
        device: "cpu" or "cuda".
        divergence: Its name and options.
    """

    def __init__(self, *, batch: int, device: str, divergence: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.model: Any = probseg.build("csae", divergence=divergence).to(device)
        self.shape, self.device = (batch, self.model.latent_dim), device
        width = self.model.prior_encoder.context_features
        self.context = torch.randn(batch, width, device=device)

    def run(self) -> None:
        """Compute the term and its gradient."""
        q = self.model.posterior_projector(self._normal(1.0), self.context)
        p = self.model.prior_projector(self._normal(0.0), self.context)
        self.model.penalties["divergence"].divergence(q, p).mean().backward()

    def _normal(self, shift: float) -> Distribution:
        mean = torch.full(self.shape, shift, device=self.device, requires_grad=True)
        scale = torch.ones(self.shape, device=self.device, requires_grad=True)
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
