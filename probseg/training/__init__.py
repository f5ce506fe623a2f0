"""Training on several annotators: ``fit(model, train, validation, TrainingSettings())``.

The only part of probseg that knows Lightning and kornia.
"""

from probseg.training.chunks import MemoryLimitError
from probseg.training.divergence import DivergenceError
from probseg.training.fit import FitResult, fit
from probseg.training.settings import TrainingSettings

__all__ = ["DivergenceError", "FitResult", "MemoryLimitError", "TrainingSettings", "fit"]
