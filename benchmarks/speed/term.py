"""A training step of the cSAE, and its divergence alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

import probseg
from benchmarks.speed.machine import wait
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings


class Step:
    """Forward, loss, backward, clipping and Adam, in the precision that this machine is fast in.

    Args:
        batch: B.
        size: H and W.
        device: "cpu" or "cuda".
    """

    def __init__(self, *, batch: int, size: int, device: str) -> None:
        torch.manual_seed(0)
        self.execution = choose_execution(TrainingSettings(device=device))
        last = self.execution.channels_last
        layout = torch.channels_last if last else torch.contiguous_format
        self.model: Any = probseg.build("csae").to(device, memory_format=layout)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, fused=True)
        image = torch.rand(batch, 1, size, size, device=device)
        self.label = (torch.rand(batch, size, size, device=device) > 0.9).long()
        self.image = image.contiguous(memory_format=layout)

    def run(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad()
        kind = self.execution.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.execution.bf16):
            terms = self.model.loss(self.image, self.label)
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        wait(kind)

    def answer(self) -> None:
        """There is nothing to compare."""


class Term:
    """The cSAE's projections and divergence of a batch, forward and backward.

    Args:
        batch: B.
        parts: Into how many micro-batches it is divided.
        device: "cpu" or "cuda".
        divergence: Options of the divergence.
    """

    def __init__(self, *, batch: int, parts: int, device: str, divergence: dict[str, Any]) -> None:
        torch.manual_seed(0)
        chosen = {"name": "sinkhorn", **divergence}
        self.model: Any = probseg.build("csae", divergence=chosen).to(device)
        self.shape, self.parts, self.device = (batch // parts, self.model.latent_dim), parts, device
        width = self.model.prior_encoder.context_features
        self.context = torch.randn(self.shape[0], width, device=device)

    def run(self) -> None:
        """Compute the term of each part and its gradient."""
        for _ in range(self.parts):
            q = self.model.posterior_projector(self._normal(1.0), self.context)
            p = self.model.prior_projector(self._normal(0.0), self.context)
            self.model.penalties["divergence"].divergence(q, p).mean().backward()
        wait(self.device)

    def answer(self) -> None:
        """There is nothing to compare."""

    def _normal(self, shift: float) -> Distribution:
        mean = torch.full(self.shape, shift, device=self.device, requires_grad=True)
        scale = torch.ones(self.shape, device=self.device, requires_grad=True)
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
