"""Picture files: what a row predicts of a few test images, as NumPy archives keep it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.utils.atomic_files import atomic_file

Picture = dict[str, NDArray[Any]]  # image, masks, labels, mean and sd of one test image
NAMES = ("image", "masks", "labels", "mean", "sd")
LABELS = ("masks", "labels")  # those that hold classes
FILE = "pictures.npz"
UNLABELLED = 255  # in masks, where nobody labelled
_PROBABILITIES = ("mean", "sd")  # from 0 to 1, which a compact picture keeps in 255 steps


def load(path: Path) -> dict[int, Picture]:
    """Return the pictures in a file by their index in the test set.

    Masks are NumPy's masked arrays, masked where nobody labelled.
    """
    with np.load(path, allow_pickle=False) as arrays:
        indices = dict.fromkeys(int(name.partition("/")[0]) for name in arrays.files)
        return {i: {n: _read(n, arrays[f"{i}/{n}"]) for n in NAMES} for i in indices}


def _read(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if name == "masks":
        return np.ma.masked_equal(array, UNLABELLED)
    compact = name in _PROBABILITIES and array.dtype == np.uint8
    return array.astype(np.float16) / np.float16(255) if compact else array


def save(path: Path, pictures: Mapping[int, Picture]) -> None:
    """Write pictures as a compressed NumPy archive, atomically."""
    arrays: dict[str, Any] = {
        f"{index}/{name}": array
        for index, picture in pictures.items()
        for name, array in picture.items()
    }
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def compact(picture: Picture) -> Picture:
    """Return a picture in bytes: the image from black to white, the rest in steps.

    Three channels of the image are kept, or the first of any other number. The mean and the
    standard deviation are rounded to 255 steps from 0 to 1.
    """
    image = picture["image"]
    image = image[: 3 if len(image) == 3 else 1].astype(float)
    reach = max(float(np.ptp(image)), 1e-6)
    probabilities = {name: _bytes(picture[name].astype(float)) for name in _PROBABILITIES}
    return {**picture, "image": _bytes((image - image.min()) / reach), **probabilities}


def _bytes(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(share.clip(0, 1) * 255).astype(np.uint8)
