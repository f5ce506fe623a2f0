"""Strict reading of greyscale PNG files: exactly what is expected, or an error that says why."""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from probseg.errors import DataError


class PngHeader(NamedTuple):
    """Size and kind of a PNG's pixels."""

    height: int
    width: int
    depth: int  # bits a channel
    colour: int

    def __str__(self) -> str:
        return f"{self.depth}-bit {_COLOURS.get(self.colour, 'unknown')}"


def read_header(data: bytes) -> PngHeader:
    """Read the header of a PNG; nothing is decompressed.

    Raises:
        DataError: The bytes do not begin as a PNG does.
    """
    if not data:
        raise DataError("is empty")
    if len(data) < 26 or not data.startswith(_SIGNATURE + _HEADER):
        raise DataError("is no whole PNG file")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    return PngHeader(height, width, depth, colour)


def verify_checksums(data: bytes) -> None:
    """Compare every chunk of a PNG with its checksum, which Pillow does not do while decoding.

    Raises:
        DataError: A chunk was changed, or the last one is missing.
    """
    start, kind, view = len(_SIGNATURE), b"", memoryview(data)
    while kind != b"IEND":
        if start + 12 > len(data):
            raise DataError("is no whole PNG file: it is truncated")
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 8 + length
        if zlib.crc32(view[start + 4 : end]).to_bytes(4) != data[end : end + 4]:
            raise DataError("is no whole PNG file: it is truncated or was changed")
        start = end + 4


def read_grayscale(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode an 8-bit greyscale PNG of a given size.

    Args:
        data: The file's bytes.
        size: Height and width that the image must have.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: The bytes are no whole PNG, or one of another size or kind of pixel.
    """
    header = read_header(data)
    if (header.depth, header.colour) != (8, 0):
        raise DataError(f"is a PNG in {header}, not 8-bit greyscale")
    if header[:2] != size:  # before anything is decompressed
        raise DataError(f"is {header.height}x{header.width}, not {size[0]}x{size[1]}")
    verify_checksums(data)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise DataError("is no whole PNG file") from error


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


_SIGNATURE, _HEADER = b"\x89PNG\r\n\x1a\n", b"\0\0\0\rIHDR"
_COLOURS = {0: "greyscale", 2: "colour", 3: "palette", 4: "greyscale with alpha", 6: "RGBA"}
