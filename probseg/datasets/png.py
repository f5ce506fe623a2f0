"""Strict reading of greyscale PNG files: exactly what is expected, or an error that says why."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from probseg.errors import DataError


def read_grey(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode an 8-bit greyscale PNG of a known size.

    Args:
        data: The file's bytes.
        size: Height and width that the image must have.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: The bytes are no whole PNG, or one of another size or kind of pixel.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "L":
                raise DataError(f"is a PNG of mode {image.mode!r}, not 8-bit greyscale")
            if image.size != size[::-1]:  # known before anything is decompressed
                raise DataError(f"is {image.height}x{image.width}, not {size[0]}x{size[1]}")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("is no whole PNG file" if data else "is empty") from error


def as_binary(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a mask of {0, 255} into one of {0, 1}.

    Raises:
        DataError: It has other values.
    """
    binary = grey >> np.uint8(7)
    if not np.array_equal(binary * np.uint8(255), grey):
        others = sorted({*np.unique(grey).tolist()} - {0, 255})
        raise DataError(f"is no mask of 0 and 255: it has the values {others[:4]} as well")
    return binary
