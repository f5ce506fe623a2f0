"""Pages: what a row says of one pictured image, as NumPy archives keep it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probseg.utils.atomic_files import atomic_file

Page = dict[str, NDArray[np.generic]]
NAMES = ("image", "masks", "labels", "mean", "sd")
FILE = "pictures.npz"
_SHARES = ("mean", "sd")  # from 0 to 1, which a compact page keeps in 255 steps


def load(path: Path) -> dict[int, Page]:
    """Return a collection: place in the test set to image, masks, labels, mean and sd."""
    with np.load(path, allow_pickle=False) as arrays:
        places = dict.fromkeys(int(name.partition("/")[0]) for name in arrays.files)
        return {p: {n: _read(n, arrays[f"{p}/{n}"]) for n in NAMES} for p in places}


def _read(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    compact = name in _SHARES and array.dtype == np.uint8
    return array.astype(np.float16) / np.float16(255) if compact else array


def save(path: Path, pages: Mapping[int, Page]) -> None:
    """Write a collection as a compressed NumPy archive, whole or not at all."""
    arrays = {f"{p}/{name}": array for p, page in pages.items() for name, array in page.items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def compact(page: Page) -> Page:
    """Return a page in bytes: the image's first channel from black to white, shares in steps."""
    image = page["image"][:1].astype(float)
    reach = max(float(np.ptp(image)), 1e-6)
    shares = {name: _bytes(page[name].astype(float)) for name in _SHARES}
    return {**page, "image": _bytes((image - image.min()) / reach), **shares}


def _bytes(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(share.clip(0, 1) * 255).astype(np.uint8)
