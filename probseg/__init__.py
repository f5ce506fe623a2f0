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
from probseg.utils.imports import lazy_names

if TYPE_CHECKING:
    from probseg.datasets.views import Parts
    from probseg.interfaces import Dataset, Evaluation
    from probseg.metrics.scores import Scores
    from probseg.models.base import ProbabilisticModel
    from probseg.training import FitResult

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


def split(dataset: Dataset, **options: Any) -> Parts:
    """Split a data set into training, validation and test set, so that no group is in two.

    >>> train, validation, test = split(datasets.create("ambiguous-shapes", samples=10))
    >>> len(train), len(validation), len(test)
    (5, 3, 2)

    Args:
        dataset: Images in groups, such as patients.
        **options: Those of :func:`probseg.datasets.splits.split`: ``fold``, ``folds``, ``seed``,
            ``by``, ``test``.

    Raises:
        OptionError: An option is unknown or out of range, or there are too few groups.
    """
    from probseg.datasets.views import split_dataset

    return split_dataset(dataset, **options)


def fit(model: Any, train: Dataset, validation: Dataset, **options: Any) -> FitResult:
    """Train a model, and leave its best weights in it.

    Args:
        model: A model of probseg; it ends on the CPU, in evaluation mode.
        train: Images to learn from.
        validation: Images that decide when to stop and which weights are best.
        **options: ``out``, the folder of the run, from which an interrupted one goes on; those of
            :class:`probseg.training.TrainingSettings`, such as ``batch_size`` and ``max_steps``;
            the others of :func:`probseg.training.fit`.

    Raises:
        InputError: The model does not take the data's channels or classes.
        OptionError: An option is unknown or out of range.
        ProbsegError: See :func:`probseg.training.fit`.
    """
    from probseg.training import fit as fit_model

    return fit_model(model, train, validation, **options)


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


__getattr__, __dir__ = lazy_names(__name__, {"Evaluation": "interfaces"})

__all__ = [
    "Evaluation",
    "__version__",
    "backbones",
    "build",
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
    "split",
]
