"""Probabilistic segmentation of ambiguous images: parts, and the models they compose.

>>> import probseg
>>> list(probseg.models)
['2p-planar', 'csae', 'deterministic', 'punet']
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from probseg._version import __version__
from probseg.registry import registry
from probseg.registry.specs import build

if TYPE_CHECKING:
    from probseg.interfaces import Dataset
    from probseg.metrics.scores import Scores
    from probseg.models.base import ProbabilisticModel

backbones = registry("backbones")
encoders = registry("encoders")
projectors = registry("projectors")
divergences = registry("divergences")
decoders = registry("decoders")
models = registry("models")
datasets = registry("datasets")
metrics = registry("metrics")


def load(path: str | os.PathLike[str], **parts: Any) -> ProbabilisticModel:
    """Return the model that was saved at ``path``, on the CPU and in evaluation mode.

    Args:
        path: A file that ``model.save`` wrote.
        **parts: The parts that were given as ready objects when the model was built.

    Raises:
        CheckpointError: The file is missing, corrupt or not one of ours.
    """
    from probseg.sharing.checkpoint import load as load_checkpoint  # torch, only once it is needed

    return cast("ProbabilisticModel", load_checkpoint(path, **parts))


def from_pretrained(
    pretrained_model_name_or_path: str | os.PathLike[str], **options: Any
) -> ProbabilisticModel:
    """Return the model in a folder, or in a repository of a hub, in evaluation mode on the CPU.

    Arguments and errors are those of :func:`probseg.sharing.hub.from_pretrained`.
    """
    from probseg.sharing.hub import from_pretrained as load_folder

    return cast("ProbabilisticModel", load_folder(pretrained_model_name_or_path, **options))


def evaluate(model: Any, data: Dataset, n: int = 16, **options: Any) -> Scores:
    """Sample a model for every image of a data set, and score the samples with every metric.

    Args:
        model: A model of probseg, or anything with its ``sample``.
        data: The images and their annotations.
        n: Samples of each image.
        **options: Those of :func:`probseg.metrics.model_evaluation.evaluate`: ``metrics``,
            ``device``, ``batch_size``, ``seed``, ``progress``.

    Returns:
        A value for each metric and image, with ``mean()``, ``summary()`` and ``to_csv(path)``.

    Raises:
        InputError: The model was built for other channels or classes.
        OptionError: An option is out of range.
        UnknownNameError: No metric has that name.
    """
    from probseg.metrics.model_evaluation import evaluate as evaluate_model

    return evaluate_model(model, data, n, **options)


__all__ = [
    "__version__",
    "backbones",
    "build",
    "datasets",
    "decoders",
    "divergences",
    "encoders",
    "evaluate",
    "from_pretrained",
    "load",
    "metrics",
    "models",
    "projectors",
]
