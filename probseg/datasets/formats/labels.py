"""Masks as they lie in files, as class indices; anything between two classes is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError

_TOLD = 4  # values that a message names


def as_labels(mask: NDArray[Any], classes: int = 2) -> NDArray[np.uint8]:
    """Return a mask of classes 0 to ``classes`` - 1; of two classes, 255 may stand for 1.

    >>> as_labels(np.array([[0.0, 255.0]])).tolist()
    [[0, 1]]

    Args:
        mask: Of any shape and real type.
        classes: Their number, at most 256.

    Returns:
        The same shape, uint8.

    Raises:
        DataError: It has other values, be they a hair away from a class.
    """
    mask = mask.astype(np.uint8) if mask.dtype == np.bool_ else mask
    scale = 255 if classes == 2 and mask.max() == 255 else 1
    if mask.min() >= 0 and mask.max() <= scale * (classes - 1):  # false for NaN
        labels = (mask // scale).astype(np.uint8)
        if np.array_equal(labels * np.uint8(scale), mask):
            return labels
    allowed = "0 and 1, or 0 and 255" if classes == 2 else f"0 to {classes - 1}"
    values = ", ".join(f"{value:.6g}" for value in _others(mask, classes))
    raise DataError(f"is no mask of {allowed}: it has the values {values}")


def _others(mask: NDArray[Any], classes: int) -> list[float]:
    known = [0, 1, 255] if classes == 2 else range(classes)
    values = np.unique(mask).tolist()
    return ([value for value in values if value not in known] or values)[:_TOLD]
