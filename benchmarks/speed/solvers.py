"""Solvers of optimal transport between equally weighted points, probseg's and others'."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from benchmarks.speed.machine import wait
from benchmarks.speed.workers import NotInstalledError

BLUR, DIAMETER = 0.05, 100.0  # the paper's, appendix B

Solve = Callable[[Tensor, Tensor], Tensor]  # (B, n, L) and (B, n, L) to (B,)


class Divergence:
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
        spread, shift = torch.tensor([1.0, 0.8]), torch.tensor([0.0, 1.0])
        points = noise * spread[:, None, None, None] + shift[:, None, None, None]
        self.points = points.to(device).requires_grad_()
        self.device = device
        self.solve = SOLVERS[solver].make(samples)
        self.run()  # which compiles what is compiled
        self.preparation = time.perf_counter() - started

    def run(self) -> Tensor:
        """Compute the divergences and their gradient, and return the divergences."""
        self.points.grad = None
        value = self.solve(*self.points)
        value.sum().backward()  # type: ignore[no-untyped-call]
        wait(self.device)
        return value

    def answer(self) -> dict[str, Any]:
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


def _ours(name: str, **options: Any) -> Callable[[int], Solve]:
    def make(samples: int) -> Solve:
        import probseg

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

    make: Callable[[int], Solve]
    same: bool  # whether it computes GeomLoss's divergence, or a neighbour of it


SOLVERS = {
    "probseg": Solver(_ours("sinkhorn"), same=True),
    "probseg, stacked": Solver(_ours("sinkhorn", solver="stacked"), same=True),
    "GeomLoss": Solver(_geomloss, same=True),
    "torch.compile(GeomLoss)": Solver(_compiled_geomloss, same=True),
    "probseg, exact": Solver(_ours("exact-ot"), same=False),
    "POT, emd2 in a loop (exact)": Solver(_exact_pot, same=False),
    "POT, batched, entropic": Solver(_entropic_pot, same=False),
}
