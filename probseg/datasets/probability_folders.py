"""Folders with the probabilities of samples for each image, as any program may write them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.mask_folders import MaskFolders
from probseg.errors import DataError

_SLACK = 0.02  # of a sum over classes: half precision rounds
_ROUNDING = 1e-3  # beyond 0 and 1, as interpolation leaves it


class ProbabilityFolders(MaskFolders):
    """The probabilities of samples, in the files that :class:`MaskFolders` reads.

    Of two classes a file holds the foreground's, (H, W) or (N, H, W): numbers from 0 to 1, or whole
    numbers of 8 or 16 bits, whose largest stands for 1. Of more classes a ``.npy``, ``.npz`` or
    ``.mat`` file holds those of all, (K, H, W) or (N, K, H, W). ``read`` returns (N, K, H, W).

    Args:
        root: As of :class:`MaskFolders`.
        classes: K, the background included.

    Raises:
        MissingDataError: There is no such folder, or no file is in it.
    """

    def __init__(self, root: str | os.PathLike[str], *, classes: int = 2) -> None:
        super().__init__(root, classes=classes)

    def _interpret(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the probabilities of samples (N, K, H, W), float32."""
        p = _from_0_to_1(array)
        if self.classes == 2:
            if p.ndim not in (2, 3) or not p.size:
                raise DataError(
                    f"has the shape {p.shape}, not (H, W) or (N, H, W) of the foreground's "
                    "probability"
                )
            p = p.reshape(-1, *p.shape[-2:])
            if len(p) == 2 and abs(p.sum(axis=0) - 1).max() <= _SLACK:
                raise DataError(
                    "has two maps that sum to 1: background and foreground, it seems, and not two "
                    "samples; save the foreground's alone, array[1]"
                )
            return np.stack([1 - p, p], axis=1)
        if p.ndim not in (3, 4) or not p.size or p.shape[-3] != self.classes:
            raise DataError(
                f"has the shape {p.shape}, not (K, H, W) or (N, K, H, W) of K = {self.classes} "
                "classes; give the number of classes, the background included"
            )
        sums = p.sum(axis=-3)
        if abs(sums - 1).max() > _SLACK:
            raise DataError(
                f"has probabilities that sum to {sums.min():.3g} to {sums.max():.3g} over the "
                "classes, not 1; if these are logits, take their softmax over the classes"
            )
        return p.reshape(-1, *p.shape[-3:])


def _from_0_to_1(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return numbers as probabilities.

    Raises:
        DataError: They are none.
    """
    if array.dtype in (np.uint8, np.uint16):
        if array.max(initial=0) == 1:
            raise DataError(
                "has the whole numbers 0 and 1, of which 1 is no certainty but the lowest grey; if "
                "these are masks, leave probabilities out"
            )
        return (array / np.float32(np.iinfo(array.dtype).max)).astype(np.float32)
    p = array.astype(np.float32)
    if not np.isfinite(p).all():
        raise DataError(
            "has values that are NaN or infinite; look for them in the program's output"
        )
    low, high = p.min(initial=0), p.max(initial=0)
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise DataError(
            f"has values from {low:.3g} to {high:.3g}, and probabilities lie from 0 to 1; if these "
            "are logits, take their sigmoid or softmax; if masks, leave probabilities out"
        )
    return p.clip(0, 1)
