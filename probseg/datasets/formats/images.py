"""Images in PNG, TIFF, NumPy and NIfTI files, read exactly or refused."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from probseg.datasets.formats.nifti import Reorientation, read_nifti
from probseg.errors import DataError

SUFFIXES = (".nii.gz", ".nii", ".npy", ".png", ".tiff", ".tif")
_PICTURES = {".png": "PNG", ".tiff": "TIFF", ".tif": "TIFF"}
_LARGEST = 1 << 26  # pixels
_CHANNELS = 16  # more are a volume's slices
_COLOURS = {  # by mode
    **dict.fromkeys(("1", "L", "I", "I;16"), "greyscale"),
    **{"LA": "greyscale with alpha", "P": "palette", "RGB": "colour", "RGBA": "colour with alpha"},
}
_BITS = 258  # TIFF's tag BitsPerSample
_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # the first bytes of a PNG


class Picture(NamedTuple):
    """Pixels as they are stored."""

    pixels: NDArray[Any]  # (C, H, W); of a volume (slices, C, H, W)
    spacing: NDArray[np.floating[Any]]  # (2,) mm between rows and columns, NaN where unknown
    reorientation: Reorientation | None = None  # how NIfTI voxels became this picture


def stem_and_suffix(file: str) -> tuple[str, str]:
    """Split a file's name before its suffix, which is empty for formats that cannot be read.

    >>> stem_and_suffix("case 1.b.NII.gz")
    ('case 1.b', '.nii.gz')
    """
    suffix = next((suffix for suffix in SUFFIXES if file.lower().endswith(suffix)), "")
    return file[: len(file) - len(suffix)], suffix


def channel_names(suffixes: Collection[str], channels: int) -> tuple[str, ...] | None:
    """Return the names of the channels of files of some suffixes, if all are pictures."""
    names = {1: ("grey",), 3: ("red", "green", "blue")}
    return names.get(channels) if _PICTURES.keys() >= set(suffixes) else None


def read_picture(data: bytes, suffix: str, image: Picture | None = None) -> Picture:
    """Decode one picture.

    Args:
        data: The file's bytes.
        suffix: One of ``SUFFIXES``.
        image: The image that the picture is a mask of: NIfTI voxels are turned as its voxels were.

    Raises:
        DataError: The bytes are not a complete picture of that kind, or cannot be read exactly.
    """
    if not data:
        raise DataError("is empty")
    if suffix.startswith(".nii"):
        return _nifti(data, image)
    if image and image.reorientation:
        raise DataError("is no NIfTI file, but its image is, so their orientation is unknown")
    if suffix == ".npy":
        pixels = read_array(data)
    else:
        check = partial(_check_mode, data=data, mask=image is not None)
        pixels = _decode(data, _PICTURES[suffix], check)
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise DataError(f"has the shape {pixels.shape}, not (H, W) or (H, W, C)")
    return Picture(_check_channels(np.atleast_3d(pixels).transpose(2, 0, 1)), np.full(2, np.nan))


def picture_size(data: bytes) -> tuple[int, int]:
    """Return the height and width of a PNG; nothing is decompressed.

    Raises:
        DataError: The bytes do not begin as a PNG does.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return image.height, image.width
    except Exception as error:  # Pillow raises errors of any type at damaged files
        raise DataError("is not a complete PNG file") from error


def read_grayscale(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode an 8-bit greyscale PNG of a given height and width, (H, W) uint8.

    Raises:
        DataError: The bytes are not a complete PNG, or one of another size or kind of pixel.
    """

    def check(image: Image.Image) -> None:
        if image.mode != "L" or _bits(image, data) != 8:
            colours = _COLOURS.get(image.mode, image.mode)
            raise DataError(f"is a PNG in {_bits(image, data)}-bit {colours}, not 8-bit greyscale")
        if getattr(image, "n_frames", 1) > 1:
            raise DataError("has several pages; save them one by one")
        if (image.height, image.width) != size:
            raise DataError(f"is {image.height}x{image.width}, not {size[0]}x{size[1]}")

    if not data:
        raise DataError("is empty")
    return _decode(data, "PNG", check)


def as_binary(mask: NDArray[Any], top: int = 255) -> NDArray[np.uint8]:
    """Turn a mask of 0 and ``top`` into one of 0 and 1.

    Raises:
        DataError: It has other values.
    """
    binary: NDArray[np.uint8] = (mask == top).view(np.uint8)
    if not np.array_equal(binary * np.uint8(top), mask):
        others = sorted({*np.unique(mask).tolist()} - {0, top})
        raise DataError(f"is no mask of 0 and {top}: it has the values {others[:4]} as well")
    return binary


def _nifti(data: bytes, image: Picture | None) -> Picture:
    if image and not image.reorientation:
        raise DataError("is a NIfTI file, but its image is not, so their orientation is unknown")
    volume = read_nifti(data, flat=True)
    reorient = (image and image.reorientation) or Reorientation(volume, axis=2)
    return Picture(_check_channels(reorient(volume)[0]), reorient.spacing, reorient)


def _check_channels(pixels: NDArray[Any]) -> NDArray[Any]:
    if len(pixels) > _CHANNELS:
        raise DataError(
            f"has {len(pixels)} channels, more than {_CHANNELS}; "
            "if it is a volume, save its slices one by one"
        )
    return pixels


def read_array(data: bytes) -> NDArray[Any]:
    """Decode an array of real numbers from a .npy file.

    Raises:
        DataError: It is another file, damaged, or shorter than its header claims.
    """
    try:
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, kind = reader(file)
        if kind.kind not in "buif":
            raise DataError(f"has elements of type {kind}, not real numbers")
        if math.prod(shape) * kind.itemsize > len(data):
            raise DataError(f"is truncated: it claims {'x'.join(map(str, shape))} elements")
        return np.load(io.BytesIO(data), allow_pickle=False)  # type: ignore[no-any-return]
    except DataError:
        raise
    except Exception as error:  # a header is parsed as Python, which fails in many ways
        raise DataError("is not a complete NumPy file") from error


def _decode(data: bytes, kind: str, check: Callable[[Image.Image], None]) -> NDArray[Any]:
    try:
        if kind == "PNG":
            _verify_checksums(data)
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            check(image)  # before anything is decompressed
            return np.asarray(image)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError("claims far too many pixels") from error
    except Exception as error:  # Pillow's decoders raise errors of any type at damaged files
        raise DataError(f"is not a complete {kind} file") from error


def _check_mode(image: Image.Image, data: bytes, mask: bool) -> None:
    """Refuse pixels that Pillow would not return as they are stored."""
    if image.width * image.height > _LARGEST:
        raise DataError(f"claims {image.height}x{image.width} pixels, more than {_LARGEST}")
    if getattr(image, "n_frames", 1) > 1:
        raise DataError("has several pages; save them one by one")
    bits = _bits(image, data)
    if image.mode == "RGB" and bits > 8:
        raise DataError(f"is RGB of {bits} bits a channel; save it as .npy, (H, W, 3)")
    if image.mode == "L" and bits < 8:  # which Pillow would stretch to 0 … 255
        raise DataError(f"is {bits}-bit greyscale; save it as 8-bit")
    if image.mode == "P" and not mask:  # its numbers are no brightness
        raise DataError("is a picture with a palette; save it as grey or RGB")
    if image.mode not in ("1", "L", "I;16", "I;16B", "I", "F", "P", "RGB"):
        raise DataError(f"is a picture of mode {image.mode!r}; save it as grey or RGB")


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]  # of the header, which is always the first chunk
    return max(image.tag_v2.get(_BITS, (1,)))  # type: ignore[attr-defined,no-any-return]


def _verify_checksums(data: bytes) -> None:
    """Compare every chunk of a PNG with its checksum, which Pillow does not do while decoding."""
    if not data.startswith(_SIGNATURE):
        raise DataError("is not a complete PNG file")
    start, kind, view = len(_SIGNATURE), b"", memoryview(data)
    while kind != b"IEND":
        if start + 12 > len(data):
            raise DataError("is not a complete PNG file: it is truncated")
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 8 + length
        if zlib.crc32(view[start + 4 : end]).to_bytes(4) != data[end : end + 4]:
            raise DataError("is not a complete PNG file: it is truncated or was changed")
        start = end + 4
