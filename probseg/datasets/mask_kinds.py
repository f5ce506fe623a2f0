"""What masks of a data set hold besides classes: pixels that nobody labelled, probabilities."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from probseg.errors import InputError
from probseg.interfaces import Dataset


def ignore_index_of(dataset: Dataset) -> int | None:
    """Return the value of masks' pixels that nobody labelled, None where a data set has no such.

    Raises:
        InputError: It is a class, or no value of a uint8.
    """
    value: int | None = getattr(dataset, "ignore_index", None)
    if value is not None and value not in range(dataset.classes, 256):
        raise InputError(
            f"the ignore_index of data set {dataset.name!r} must be None, or from "
            f"{dataset.classes}, its number of classes, to 255 (the usual), not {value!r}"
        )
    return None if value is None else int(value)


def check_ignores(model: object, ignore_index: int | None) -> None:
    """Check that the loss and the posterior of a model can ignore pixels, if some are to be.

    Raises:
        InputError: They cannot.
    """
    for name in ("loss", "posterior"):
        method = getattr(model, name, None)
        if ignore_index is not None and method is not None and not _takes_ignore_index(method):
            raise InputError(
                f"pixels of {ignore_index} are to be ignored, but {type(model).__name__}.{name} "
                "takes no ignore_index=; add that option, or derive the model from "
                "probseg.models.base.ProbabilisticModel and define terms"
            )


def _takes_ignore_index(method: Callable[..., Any]) -> bool:
    takes = signature(method).parameters
    return "ignore_index" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())


def is_soft(dataset: Dataset) -> bool:
    """Return whether a data set's masks are soft."""
    return bool(getattr(dataset, "soft", False))
