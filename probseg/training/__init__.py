"""Training on several annotators: ``fit(model, train, validation, TrainingSettings())``.

The only part of probseg that knows Lightning and kornia. They are imported with the first name
that needs them; settings and :func:`check_finite`, for a loop of your own, do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probseg.utils.lazy import lazy_names

if TYPE_CHECKING:
    from probseg.training.chunks import MemoryLimitError
    from probseg.training.finite import DivergenceError, check_finite
    from probseg.training.fitting import FitResult, fit
    from probseg.training.latent_health import LatentHealth
    from probseg.training.settings import TrainingSettings

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DivergenceError": "finite",
        "FitResult": "fitting",
        "LatentHealth": "latent_health",
        "MemoryLimitError": "chunks",
        "TrainingSettings": "settings",
        "check_finite": "finite",
        "fit": "fitting",
    },
)

__all__ = [
    "DivergenceError",
    "FitResult",
    "LatentHealth",
    "MemoryLimitError",
    "TrainingSettings",
    "check_finite",
    "fit",
]
