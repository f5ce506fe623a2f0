"""Training on several annotators: ``fit(model, train, validation, TrainingSettings())``.

The only part of probseg that knows Lightning and kornia. They are imported with the first name
that needs them; settings and :func:`check_finite`, for a loop of your own, do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probseg.training.chunks import MemoryLimitError
    from probseg.training.divergence import DivergenceError, check_finite
    from probseg.training.fitting import FitResult, fit
    from probseg.training.health import LatentHealth
    from probseg.training.settings import TrainingSettings

_HOMES = {
    "DivergenceError": "divergence",
    "FitResult": "fitting",
    "LatentHealth": "health",
    "MemoryLimitError": "chunks",
    "TrainingSettings": "settings",
    "check_finite": "divergence",
    "fit": "fitting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)


__all__ = [
    "DivergenceError",
    "FitResult",
    "LatentHealth",
    "MemoryLimitError",
    "TrainingSettings",
    "check_finite",
    "fit",
]
