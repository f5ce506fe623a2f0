"""The Sinkhorn divergence: solvers side by side, and its share of a training step."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

import probseg
from benchmarks.speed.comparison import Candidate, Comparison, Disagreement, Settings, compare
from benchmarks.speed.train import Step, relative_difference
from benchmarks.speed.workers import NotInstalledError, Workload

BLUR, DIAMETER = 0.05, 100.0  # the paper's, appendix B
# Relative, in single precision: the last temperature, 0.0025, amplifies the rounding of the costs.
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-2
NEAR = 0.2  # of the value, where another problem is solved: without debiasing, or without blur
MICRO_BATCHES = 4
AIM = "at most 3 %"

Answer = dict[str, Any]
Solve = Callable[[Tensor, Tensor], Tensor]  # (B, n, L) and (B, n, L) to (B,)


def comparisons(settings: Settings) -> list[Comparison]:
    """Return the tables of this topic."""
    return [_compare_solvers(settings), _compare_with_step(settings)]


def _compare_solvers(settings: Settings) -> Comparison:
    batch, samples, latent = settings.size(32, 2), settings.size(16, 3), 6
    options = {"batch": batch, "samples": samples, "latent": latent, "device": settings.device}
    names = list(SOLVERS)[: 2 if settings.small else None]
    candidates = [
        Candidate(
            name=name,
            make=SolverStep,
            options=options | {"solver": name},
            agree=None if name == names[0] else same if SOLVERS[name].same else near,
        )
        for name in names
    ]
    return compare(
        f"Divergence of {batch} pairs of {samples} points, L = {latent}, forward and backward",
        candidates,
        settings,
        notes=["probseg's is GeomLoss; “stacked” goes through the same iterations in one tensor."],
    )


def _compare_with_step(settings: Settings) -> Comparison:
    batch, size = settings.size(32, 4), settings.size(128, 16)
    options = {"batch": batch, "device": settings.device}
    stacked = {"divergence": {"solver": "stacked"}}
    variants: dict[str, dict[str, Any]] = {
        "its divergence": {},
        f"the same in {MICRO_BATCHES} micro-batches": {"parts": MICRO_BATCHES},
        "weights by density": {"divergence": {"weights": "density"}},
        "stacked": stacked,
        f"stacked, {MICRO_BATCHES} micro-batches": stacked | {"parts": MICRO_BATCHES},
    }
    names = list(variants)[: 1 if settings.small else None]
    step = Candidate(
        name=f"the cSAE's step, {batch} images of {size} × {size}",
        make=Step,
        options=options | {"size": size, "model": "csae"},
    )
    terms = [
        Candidate(name=name, make=DivergenceTerm, options=options | variants[name])
        for name in names
    ]
    comparison = compare("Share of the divergence in a training step", [step, *terms], settings)
    shares = ", ".join(f"{row.name} {row.ratio:.2%}" for row in comparison.rows[1:])
    return replace(comparison, notes=[f"Of the step: {shares} (aim: {AIM})."])


class SolverStep(Workload):
    """One solver, forward and backward, on seeded points.

    Args:
        solver: A name in ``SOLVERS``.
        batch: B.
        samples: n.
        latent: L.
        device: "cpu" or "cuda".
    """

    def __init__(self, *, solver: str, batch: int, samples: int, latent: int, device: str) -> None:
        started = time.perf_counter()
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(2, batch, samples, latent, generator=generator)
        scale, shift = torch.tensor([1.0, 0.8]), torch.tensor([0.0, 1.0])
        points = noise * scale[:, None, None, None] + shift[:, None, None, None]
        self.points = points.to(device).requires_grad_()
        self.device = device
        self.solve = SOLVERS[solver].make(samples)
        self.run()  # compiles what is compiled
        self.preparation = time.perf_counter() - started

    def run(self) -> Tensor:
        """Compute the divergences and their gradient, and return the divergences."""
        self.points.grad = None
        value = self.solve(*self.points)
        value.sum().backward()
        return value

    def answer(self) -> Answer:
        """Return the divergences (B,), the gradient, and the seconds until all was ready."""
        value = self.run()
        assert self.points.grad is not None
        return {
            "value": value.detach().cpu().numpy(),
            "gradient": self.points.grad.cpu().numpy(),
            "preparation": self.preparation,
        }


class Points(Distribution):
    """A density whose samples are given: points (B, n, L)."""

    def __init__(self, points: Tensor) -> None:
        super().__init__(points.shape[:1], points.shape[2:], validate_args=False)
        self.points = points

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return the points, (n, B, L)."""
        return self.points.transpose(0, 1)


def _probseg(name: str, **options: Any) -> Callable[[int], Solve]:
    def make(samples: int) -> Solve:
        divergence = probseg.divergences.create(name, samples=samples, **options)
        return lambda x, y: divergence(Points(x), Points(y))

    return make


def _geomloss(samples: int) -> Solve:
    from geomloss import SamplesLoss

    solve: Solve = SamplesLoss("sinkhorn", p=2, blur=BLUR, diameter=DIAMETER)
    return solve


def _compiled_geomloss(samples: int) -> Solve:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise NotInstalledError("torch.compile needs a C++ compiler; install g++, or set CXX")
    compiled: Solve = torch.compile(_geomloss(samples))
    return compiled


def _exact_pot(samples: int) -> Solve:
    import ot

    def solve(x: Tensor, y: Tensor) -> Tensor:
        costs = [ot.dist(one, other) / 2 for one, other in zip(x, y, strict=True)]
        uniform = x.new_full((samples,), 1 / samples)
        return torch.stack([ot.emd2(uniform, uniform, cost) for cost in costs])

    return solve


def _entropic_pot(samples: int) -> Solve:
    from ot.batch import solve_sample_batch

    def solve(x: Tensor, y: Tensor) -> Tensor:
        with warnings.catch_warnings(action="ignore"):  # 1000 iterations do not always converge
            solved = solve_sample_batch(x, y, reg=2 * BLUR**2, method="log_sinkhorn")
        value: Tensor = solved.value / 2  # its cost lacks the half
        return value

    return solve


class Solver(NamedTuple):
    """A way to compute a transport cost."""

    make: Callable[[int], Solve]  # of the number of samples
    same: bool  # whether it computes GeomLoss's divergence, or that of a similar problem


SOLVERS = {
    "probseg": Solver(_probseg("sinkhorn"), same=True),
    "probseg, stacked": Solver(_probseg("sinkhorn", solver="stacked"), same=True),
    "GeomLoss": Solver(_geomloss, same=True),
    "torch.compile(GeomLoss)": Solver(_compiled_geomloss, same=True),
    "probseg, exact": Solver(_probseg("exact-ot"), same=False),
    "POT, emd2 in a loop (exact)": Solver(_exact_pot, same=False),
    "POT, batched, entropic": Solver(_entropic_pot, same=False),
}


class DivergenceTerm(Workload):
    """The cSAE's projections and divergence of a batch, forward and backward.

    Args:
        batch: B.
        device: "cpu" or "cuda".
        parts: Into how many micro-batches the batch is divided.
        divergence: Options of the divergence.
    """

    def __init__(
        self, *, batch: int, device: str, parts: int = 1, divergence: dict[str, Any] | None = None
    ) -> None:
        torch.manual_seed(0)
        chosen = {"name": "sinkhorn", **(divergence or {})}
        self.model: Any = probseg.build("csae", divergence=chosen).to(device)
        self.shape, self.parts, self.device = (batch // parts, self.model.latent_dim), parts, device
        width = self.model.prior_encoder.context_features
        self.context = torch.randn(self.shape[0], width, device=device)

    def run(self) -> None:
        """Compute the term of each micro-batch and its gradient."""
        for _ in range(self.parts):
            q = self.model.posterior_projector(self._normal(1.0), self.context)
            p = self.model.prior_projector(self._normal(0.0), self.context)
            self.model.penalties["divergence"].divergence(q, p).mean().backward()

    def _normal(self, shift: float) -> Distribution:
        mean = torch.full(self.shape, shift, device=self.device, requires_grad=True)
        scale = torch.ones(self.shape, device=self.device, requires_grad=True)
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


def same(ours: Answer, theirs: Answer) -> str:
    """Say how well two answers agree that should be equal.

    Raises:
        Disagreement: They differ by more than single precision explains.
    """
    value, gradient = (relative_difference(ours[n], theirs[n]) for n in ("value", "gradient"))
    if value > VALUE_TOLERANCE or gradient > GRADIENT_TOLERANCE:
        raise Disagreement(f"values differ by {value:.1e}, gradients by {gradient:.1e}")
    return f"value to {value:.0e}, gradient to {gradient:.0e}{_preparation(theirs)}"


def near(ours: Answer, theirs: Answer) -> str:
    """Say how near the answer to a similar problem is.

    Raises:
        Disagreement: It is far away.
    """
    excess = float(theirs["value"].mean() / ours["value"].mean()) - 1
    if abs(excess) > NEAR:
        raise Disagreement(f"mean values differ by {excess:+.0%}")
    left, right = ours["gradient"].ravel(), theirs["gradient"].ravel()
    cosine = float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    return f"value {excess:+.1%}, gradient's cosine {cosine:.2f}{_preparation(theirs)}"


def _preparation(answer: Answer) -> str:
    seconds = answer["preparation"]
    return f"; {seconds:.0f} s to get ready" if seconds > 5 else ""
