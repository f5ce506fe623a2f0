"""Files of every kind that a data set may have, from arrays; for the fuzz of the loaders."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
FIFO = b"a named pipe, which would be waited for"


@dataclass
class File:
    """A file, what it shows, and its bytes; None if it is not there."""

    name: str
    pixels: Pixels
    encode: Callable[[Pixels], bytes]
    data: Any = None  # bytes; of an entry of a pickle, an array
    touched: bool = False  # a fault is planted in it, or none may be

    def __post_init__(self) -> None:
        self.data = self.encode(self.pixels)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"{self.name!r}: {self.pixels.shape} {self.pixels.dtype}")

    @property
    def there(self) -> bool:
        return self.data is not None and self.data is not FIFO


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def png_mask(pixels: Pixels) -> bytes:
    return png((pixels * 255).astype(np.uint8) if pixels.max() < 2 else pixels)


def npy(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def tif(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    kinds = [None, "tiff_lzw", "packbits"] if pixels.ndim == 2 and pixels.dtype == "u1" else [None]
    kind = kinds[np.count_nonzero(pixels) % len(kinds)]
    Image.fromarray(pixels).save(file, "TIFF", compression=kind)
    return file.getvalue()


def nifti(pixels: Pixels) -> bytes:
    """Write a picture (H, W) or (H, W, C), column by column and sometimes from the right."""
    affine, voxels = np.diag([-0.5, -0.25, 2.0, 1.0]), np.swapaxes(pixels, 0, 1)
    if voxels.ndim == 3:
        voxels = voxels[:, :, None]
    if np.count_nonzero(pixels) % 2:
        affine[0, [0, 3]], voxels = (0.5, -0.5 * (len(voxels) - 1)), voxels[::-1]
    return nibabel.Nifti1Image(np.ascontiguousarray(voxels), affine).to_bytes()


def volume(pixels: Pixels) -> bytes:
    return nibabel.Nifti1Image(pixels, np.eye(4)).to_bytes()


def packed(encode: Callable[[Pixels], bytes]) -> Callable[[Pixels], bytes]:
    return lambda pixels: gzip.compress(encode(pixels), 1, mtime=0)


ENCODERS = {".png": png, ".tif": tif, ".npy": npy, ".nii": nifti, ".nii.gz": packed(nifti)}
KINDS = {  # of pixels that a file keeps exactly, besides 8 bits
    ".png": ["u2"],
    ".tif": ["u2", "f4"],
    ".npy": ["u2", "i2", "f4", "f8"],
    ".nii": ["i2", "f4"],
    ".nii.gz": ["i2", "f4"],
}


def picture(random: np.random.Generator, *shape: int, kind: str = "u1") -> Pixels:
    """Return noise, or a few squares that compress to some bytes, whose flips may go unseen."""
    scale = {"u1": 255, "u2": 40000, "i2": 3000, "f4": 1, "f8": 1e6}[kind]
    if random.random() < 0.5:
        return (random.random(shape) * scale).astype(kind)
    flat = np.full(shape, int(random.integers(1, 4)) * scale / 4)
    flat[: shape[0] // 2, : shape[1] // 3] = scale
    return flat.astype(kind)


def drawn(random: np.random.Generator, *shape: int) -> Pixels:
    mask = np.zeros(shape, np.uint8)
    if random.random() < 0.8:
        mask[tuple(slice(0, int(random.integers(1, extent + 1))) for extent in shape)] = 1
        mask &= random.random(shape) < random.choice([0.5, 1.0])
    return mask
