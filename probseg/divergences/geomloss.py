"""GeomLoss without PyKeOps, which the few points of a latent space do not need."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

from torch import Tensor

_importing = Lock()


def geomloss(a: Tensor, x: Tensor, b: Tensor, y: Tensor, *, p: int, **scales: float) -> Tensor:
    """Return GeomLoss's Sinkhorn divergence (B,) of points (B, n, L) of weights (B, n).

    Args:
        a: Weights of x, which sum to one.
        x: Points.
        b: Weights of y, which sum to one.
        y: Points.
        p: Exponent of the cost, 1 or 2.
        **scales: Its ``blur``, ``scaling`` and ``diameter``.
    """
    solve = samples_loss()("sinkhorn", p=p, **scales, backend="tensorized")
    divergence: Tensor = solve(a, x, b, y)
    return divergence


@cache
def samples_loss() -> Callable[..., Any]:
    """Import GeomLoss's class, without PyKeOps if that is not imported yet.

    GeomLoss imports PyKeOps where it is installed, which then looks for compilers and prints. So
    it is not shown any, and what was loaded like this is nobody else's: who imports GeomLoss later
    gets it with all of its backends.
    """
    with _importing:
        loaded = "geomloss" in sys.modules or "pykeops" in sys.modules
        if loaded or importlib.util.find_spec("pykeops") is None:
            return _load()
        sys.modules["pykeops"] = None  # type: ignore[assignment]  # as import has it: not there
        try:
            return _load()
        finally:
            for name in [name for name in sys.modules if name.split(".")[0] == "geomloss"]:
                del sys.modules[name]
            del sys.modules["pykeops"]


def _load() -> Callable[..., Any]:
    samples_loss: Callable[..., Any] = importlib.import_module("geomloss").SamplesLoss
    return samples_loss
