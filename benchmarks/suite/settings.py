"""Settings: what a suite, ``--set`` and a cell can say, with every default of the benchmark.

The settings of training have their defaults in :class:`probseg.training.settings.TrainingSettings`,
those of models and their parts in their constructors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from benchmarks.suite.validation import schema

FOLDS = 3  # of the paper's cross-validation


@dataclass(frozen=True)
class DataSettings:
    """Which images of a data set a cell uses.

    Args:
        crop: Side of the centre crop in pixels; None keeps whole images.
        split: Whether a "patient" or an "image" is wholly in one part.
        split_seed: Of the split, and of the images that are drawn from its parts.
        images: At most so many test images; None is all.
        validation_images: At most so many validation images; None is all.
    """

    crop: int | None = None
    split: str = "patient"
    split_seed: int = 0
    images: int | None = None
    validation_images: int | None = None


@dataclass(frozen=True)
class EvaluationSettings:
    """How a cell is scored.

    Args:
        n_eval: Samples an image.
        evaluation_batch: Images at a time; samples are seeded by batch.
        projected: Whether to score samples of the projected prior as well.
        latents: What else to decode in place of the prior's samples: "noise", "swapped".
    """

    n_eval: int = 16
    evaluation_batch: int = 16
    projected: bool = False
    latents: tuple[str, ...] = ()


MODEL = (
    *("latent_dim", "beta", "gamma", "n_ot", "class_prior"),
    *("backbone", "encoder", "decoder", "divergence"),
)
DATA = tuple(field.name for field in fields(DataSettings))
EVALUATION = ("n_eval", "evaluation_batch")  # the others are a row's

# Settings that are an option of one of the model's parts, wherever the model takes that part.
OF_PARTS = {"n_ot": ("divergence", "samples"), "class_prior": ("decoder", "class_prior")}


def names() -> list[str]:
    """Return the names of all settings."""
    return list(schema("suite")["$defs"]["settings"]["properties"])
