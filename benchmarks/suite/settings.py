"""Settings: what a suite, ``--set`` and an experiment give, how each is checked, its default.

The settings of training have their defaults in :class:`probseg.training.settings.TrainingSettings`,
those of models and their parts in their constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from probseg.cli.parser import parse_assignments
from probseg.errors import OptionError
from probseg.options import (
    check_choice,
    check_integer,
    check_number,
    did_you_mean,
    listing,
    unknown,
)
from probseg.registry import PARTS, registry

FOLDS = 3  # of the paper's cross-validation
FROM_DATA = "data"  # a class prior that is counted in the masks of the training images


@dataclass(frozen=True)
class DataSettings:
    """Which images of a data set an experiment uses."""

    crop: int | None = None  # side of the centre crop in pixels; None keeps whole images
    split: str = "patient"  # or "image": what is wholly in one part
    split_seed: int = 0  # of the split, and of the images that are drawn from its parts
    images: int | None = None  # at most so many test images; None is all
    validation_images: int | None = None  # likewise


@dataclass(frozen=True)
class EvaluationSettings:
    """How an experiment is scored."""

    n_eval: int = 16  # samples an image
    evaluation_batch: int = 16  # images at a time; samples are seeded by batch
    projected: bool = False  # whether to score samples of the projected prior as well
    stratified: bool = False  # whether to score stratified samples of the prior as well
    latents: Sequence[str] = ()  # decoded in place of the prior's too: "noise", "swapped"


def check_part(option: str, value: object) -> None:
    """Check the name of a part, or a table with one; no part is imported."""
    name = value.get("name") if isinstance(value, Mapping) else value
    if not isinstance(name, str):
        raise OptionError(
            f"{option} must be the name of a part or a table with a name, not {value!r}"
        )
    known = registry(PARTS[option.rpartition(".")[2]])
    if name not in known:
        raise OptionError(f"{option}: {unknown(known.kind, name, known)}")


def _check_class_prior(option: str, value: object) -> None:
    if value == FROM_DATA:
        return
    if not isinstance(value, list) or len(value) < 2:
        raise OptionError(
            f"{option} must be {FROM_DATA!r} or a list of a probability for each class, "
            f"not {value!r}"
        )
    for probability in value:
        check_number(option, probability)


def _check_integer_or(option: str, value: object, *, words: Collection[str], low: int) -> None:
    if isinstance(value, str) and value not in words:
        known = ", ".join(map(repr, sorted(words)))
        raise OptionError(
            f"{option} must be {known} or an integer of at least {low}, "
            f"not {value!r}{did_you_mean(value, words)}"
        )
    if not isinstance(value, str):
        check_integer(option, value, low=low)


def _check_monitor(option: str, value: object) -> None:
    check_choice(option, value, ("loss", *registry("metrics")))


def _check_annealing(option: str, value: object) -> None:
    for steps in value.values() if isinstance(value, Mapping) else [value]:
        check_integer(option, steps, low=0)


Check = Callable[[str, Any], object]  # of an option's name and value; raises OptionError

_WEIGHT: Check = partial(check_number, positive=False)
BOOLEAN: Check = partial(check_choice, choices=(True, False))
_AT_LEAST_0: Check = partial(check_integer, low=0)

MODEL: dict[str, Check] = {
    "latent_dim": check_integer,
    "beta": _WEIGHT,
    "gamma": _WEIGHT,
    "n_ot": check_integer,
    "class_prior": _check_class_prior,
    "backbone": check_part,
    "encoder": check_part,
    "decoder": check_part,
    "divergence": check_part,
}
DATA: dict[str, Check] = {
    "crop": check_integer,
    "split": partial(check_choice, choices=("patient", "image")),
    "split_seed": _AT_LEAST_0,
    "images": check_integer,
    "validation_images": check_integer,
}
EVALUATION: dict[str, Check] = {"n_eval": check_integer, "evaluation_batch": check_integer}
TRAINING: dict[str, Check] = {
    "batch_size": check_integer,
    "micro_batch": partial(_check_integer_or, words=("auto",), low=1),
    "learning_rate": check_number,
    "schedule": partial(check_choice, choices=("constant", "cosine")),
    "weight_decay": _WEIGHT,
    "clip": check_number,
    "max_steps": check_integer,
    "validate_every": check_integer,
    "patience": check_integer,
    "augment": partial(check_choice, choices=(True, False, "flips", "ignore-outside")),
    "annotator": partial(_check_integer_or, words=("random", "majority", "staple"), low=0),
    "precision": partial(check_choice, choices=("auto", "bf16", "fp32")),
    "channels_last": partial(check_choice, choices=("auto", True, False)),
    "compile": BOOLEAN,
    "monitor": _check_monitor,
    "annealing": _check_annealing,
    "annealing_cycles": check_integer,
    "geco": check_number,
    "geco_rate": check_number,
    "geco_decay": _WEIGHT,
}
SETTINGS = {**MODEL, **DATA, **EVALUATION, **TRAINING}

# Settings that are an option of one of the model's parts, wherever the model takes that part.
OF_PARTS = {"n_ot": ("divergence", "samples"), "class_prior": ("decoder", "class_prior")}


def unknown_key(key: str, known: Collection[str]) -> str:
    """Return the message for a key that is not among the known ones."""
    return f"unknown key {key!r}{did_you_mean(key, known) or ';'} Known: {listing(known)}"


def overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Return settings from ``KEY=VALUE``, whose value is TOML or else a plain word.

    Raises:
        OptionError: One is no assignment, names no setting or has a wrong value.

    >>> overrides(["max_steps=5", "backbone=unet"])
    {'max_steps': 5, 'backbone': 'unet'}
    """
    chosen = parse_assignments(assignments)
    for name, value in chosen.items():
        if name not in SETTINGS:
            raise OptionError(f"--set: {unknown_key(name, SETTINGS)}")
        try:
            SETTINGS[name](name, value)
        except OptionError as error:
            raise OptionError(f"--set: {error}") from None
    return chosen
