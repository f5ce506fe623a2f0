"""Training on several annotators: ``fit(model, train, validation, TrainingSettings())``.

The only package of probseg that imports Lightning and kornia, which the extra ``train`` installs.
Settings and :class:`FiniteWatch`, for a training loop of your own, need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from probseg.utils.imports import lazy_names, require

if TYPE_CHECKING:
    from probseg.training.finite import FiniteWatch, NonFiniteError
    from probseg.training.fitting import FitResult, fit
    from probseg.training.gradients import MemoryLimitError
    from probseg.training.latent_health import LatentHealth
    from probseg.training.settings import TrainingSettings

_PACKAGES = {
    "FitResult": ("lightning", "kornia"),
    "LatentHealth": ("lightning",),
    "fit": ("lightning", "kornia"),
}
_get, __dir__ = lazy_names(
    __name__,
    {
        "FiniteWatch": "finite",
        "FitResult": "fitting",
        "LatentHealth": "latent_health",
        "MemoryLimitError": "gradients",
        "NonFiniteError": "finite",
        "TrainingSettings": "settings",
        "fit": "fitting",
    },
)


def __getattr__(name: str) -> Any:
    for package in _PACKAGES.get(name, ()):
        require(package, extra="train", for_=f"probseg.training.{name}")
    return _get(name)


__all__ = [
    "FiniteWatch",
    "FitResult",
    "LatentHealth",
    "MemoryLimitError",
    "NonFiniteError",
    "TrainingSettings",
    "fit",
]
