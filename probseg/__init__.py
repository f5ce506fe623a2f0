"""Probabilistic segmentation of ambiguous images: parts, and the models they compose.

>>> import probseg
>>> [name for name in probseg.models if "csae" in name]
['csae', 'hierarchical-csae']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probseg._version import __version__
from probseg.registry import registry
from probseg.registry.specs import build
from probseg.utils.imports import lazy_names

if TYPE_CHECKING:
    from probseg.datasets.views import split
    from probseg.interfaces import Evaluation
    from probseg.metrics.model_evaluation import evaluate
    from probseg.sharing.checkpoint import load
    from probseg.sharing.hub import from_pretrained
    from probseg.training import fit
    from probseg.training.calibrate import calibrate

backbones = registry("backbones")
pyramids = registry("pyramids")
encoders = registry("encoders")
projectors = registry("projectors")
divergences = registry("divergences")
set_losses = registry("set_losses")
decoders = registry("decoders")
models = registry("models")
datasets = registry("datasets")
metrics = registry("metrics")

# torch, which takes seconds, is imported once one of these is needed
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Evaluation": "interfaces",
        "calibrate": "training.calibrate",
        "evaluate": "metrics.model_evaluation",
        "fit": "training",
        "from_pretrained": "sharing.hub",
        "load": "sharing.checkpoint",
        "split": "datasets.views",
    },
)

__all__ = [
    "Evaluation",
    "__version__",
    "backbones",
    "build",
    "calibrate",
    "datasets",
    "decoders",
    "divergences",
    "encoders",
    "evaluate",
    "fit",
    "from_pretrained",
    "load",
    "metrics",
    "models",
    "projectors",
    "pyramids",
    "set_losses",
    "split",
]
