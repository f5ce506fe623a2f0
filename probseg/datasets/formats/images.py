"""Images and masks in files of many kinds, read exactly or refused."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from probseg.datasets.formats.arrays import read_array
from probseg.datasets.formats.dicom import read_slice
from probseg.datasets.formats.itk import read_itk
from probseg.datasets.formats.matlab import read_matlab
from probseg.datasets.formats.nifti import A_VOLUME, Reorientation, read_nifti, slice_axis
from probseg.errors import DataError

VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")  # whose headers tell where they lie
_LOCATED = "NIfTI, NRRD or MHA"
_JPEG = (".jpg", ".jpeg")
_PICTURES = {
    **{".png": "PNG", ".tiff": "TIFF", ".tif": "TIFF", ".gif": "GIF"},
    **{".pgm": "PPM", ".ppm": "PPM", ".pbm": "PPM", ".jpg": "JPEG", ".jpeg": "JPEG"},
}
SUFFIXES = (*VOLUMES, ".npy", ".mat", ".dcm", *_PICTURES)
Palette = Literal["indices", "colours"]
PALETTES = ("indices", "colours")
_LARGEST = 1 << 26  # pixels
_CHANNELS = 16  # more are a volume's slices
_COLOURS = {  # by mode
    **dict.fromkeys(("1", "L", "I", "I;16"), "greyscale"),
    **{"LA": "greyscale with alpha", "P": "palette", "RGB": "colour", "RGBA": "colour with alpha"},
}
_WHITE = 65535  # of 16 bits
_BITS = 258  # TIFF's tag BitsPerSample
_ORIENTATION = 274  # the tag of EXIF and TIFF
_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339  # more of TIFF's
_TIFF = (b"II", b"MM")  # the first bytes of a TIFF
_PNM_HEADER = re.compile(rb"P[2356](?:(?:\s|#[^\n]*\n)+(\d+)){3}")  # width, height, white
_POINTERS = (b"version https://git-lfs", b"/annex/objects/")  # in place of a file's content
_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # the first bytes of a PNG


class Picture(NamedTuple):
    """Pixels as they are stored."""

    pixels: NDArray[Any]  # (C, H, W); of a volume (slices, C, H, W)
    spacing: NDArray[np.floating[Any]]  # (2,) mm between rows and columns, NaN where unknown
    reorientation: Reorientation | None = None  # how a volume's voxels became this picture


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


def read_picture(
    data: bytes,
    suffix: str,
    image: Picture | None = None,
    *,
    palette: Palette = "indices",
    resample: bool = False,
) -> Picture:
    """Decode one picture.

    Args:
        data: The file's bytes.
        suffix: One of ``SUFFIXES``.
        image: The image that the picture is a mask of: NIfTI voxels are turned as its voxels were.
        palette: What a picture with a palette is: the palette's indices, which are the classes of
            a mask and no image, or its colours.
        resample: Of an image, whether its masks may lie on other voxels (:class:`Reorientation`).

    Raises:
        DataError: The bytes are not a complete picture of that kind, or cannot be read exactly.
    """
    if not data:
        raise DataError("is empty")
    if any(map(data[:200].lstrip().startswith, _POINTERS)):
        raise DataError(
            "is a pointer to the file, not the file; get it with git lfs pull, or git annex get"
        )
    if suffix in VOLUMES:
        return _volume(data, suffix, image, resample)
    if image and image.reorientation:
        raise DataError(
            f"is no {_LOCATED} file, but its image is one, so their orientation is unknown"
        )
    pixels, spacing = _stored(data, suffix, image is not None, palette)
    if pixels.ndim not in (2, 3) or not pixels.size:
        volume = f"; {A_VOLUME}" if pixels.ndim > 3 else ""
        raise DataError(f"has the shape {pixels.shape}, not (H, W) or (H, W, C){volume}")
    channels = _check_channels(_native(np.atleast_3d(pixels)).transpose(2, 0, 1))
    return Picture(channels, np.array(spacing))


def _stored(
    data: bytes, suffix: str, mask: bool, palette: Palette
) -> tuple[NDArray[Any], tuple[float, float]]:
    """Return pixels (H, W) or (H, W, C), and the mm between rows and columns."""
    unknown = (np.nan, np.nan)
    if suffix == ".npy":
        return read_array(data), unknown
    if suffix == ".mat":
        return read_matlab(data), unknown
    if suffix == ".dcm":
        if mask:
            raise DataError("is a DICOM file, which is read as an image only; save masks as .png")
        return read_slice(data)
    if mask and suffix in _JPEG:
        raise DataError(
            "is a JPEG, which changes a mask's values at every outline; save it as .png, from the "
            "original and not from this file"
        )
    check = partial(_check_mode, data=data, mask=mask, palette=palette)
    pixels = _decode(data, _PICTURES[suffix], check, palette)
    return _unscaled(pixels, data) if data[:1] == b"P" else pixels, unknown


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


def _volume(data: bytes, suffix: str, image: Picture | None, resample: bool) -> Picture:
    if image and not image.reorientation:
        raise DataError(
            f"is a {suffix} file, but its image is no {_LOCATED} file, so their orientation is "
            "unknown"
        )
    nifti = suffix.startswith(".nii")
    volume = read_nifti(data, flat=True) if nifti else read_itk(data, suffix, flat=True)
    reorient = image and image.reorientation
    reorient = reorient or Reorientation(volume, slice_axis(volume), resample=resample)
    slices = reorient(volume)
    if len(slices) > 1:
        raise DataError("is a slice of another plane than its image")
    return Picture(_check_channels(_native(slices[0])), reorient.spacing, reorient)


def _native(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels in the byte order of this machine, so that equal types are equal."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _check_channels(pixels: NDArray[Any]) -> NDArray[Any]:
    if len(pixels) > _CHANNELS:
        raise DataError(
            f"has {len(pixels)} channels, more than {_CHANNELS}; channels come last, as in "
            f"(H, W, C); {A_VOLUME}"
        )
    return pixels


def _decode(
    data: bytes,
    kind: str,
    check: Callable[[Image.Image], None],
    palette: Palette = "indices",
) -> NDArray[Any]:
    try:
        if kind == "PNG":
            _verify_checksums(data)
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            check(image)  # before anything is decompressed
            if image.mode == "P" and palette == "colours":
                return _colours(image)
            pixels = np.asarray(image)
            if image.mode == "P":
                _check_greys(image, pixels)
            return pixels.view(_tiff_type(image, pixels.dtype)) if kind == "TIFF" else pixels
    except DataError:
        raise
    except UnidentifiedImageError as error:
        unknown = "; or it is of a kind that Pillow does not read, such as of 64 bits: save as .npy"
        more = unknown if data[:2] in _TIFF else ""
        raise DataError(f"is not a complete {kind} file{more}") from error
    except Image.DecompressionBombError as error:
        raise DataError("claims far too many pixels") from error
    except Exception as error:  # Pillow's decoders raise errors of any type at damaged files
        raise DataError(f"is not a complete {kind} file") from error


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    """Return the colours of a picture with a palette, (H, W) if all of them are grey."""
    colours = np.asarray(image.convert("RGB"))
    grey = (colours == colours[..., :1]).all()
    return colours[..., 0] if grey else colours


def _check_greys(image: Image.Image, indices: NDArray[np.uint8]) -> None:
    """Refuse indices of which the greys of their palette say something else.

    Programs that write only the colours that are used number them anew.
    """
    colours = np.array([image.getpalette("RGB")], np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    used = used[used < len(colours)]  # a file may lack colours
    greys = colours[used, 0]
    if (colours != colours[:, :1]).any() or (used == greys).all():
        return
    if not ((greys == 255 * used).all() and used.max() <= 1):  # black and white
        index = int(np.flatnonzero(used != greys)[0])
        raise DataError(
            f"has a palette of greys that are not its indices ({used[index]} is the grey "
            f'{greys[index]}); save it as grey, or pass palette="colours" to read the greys'
        )


def _tiff_type(image: Image.Image, decoded: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a TIFF's pixels, which Pillow decodes as uint8 or as int32."""
    tags = image.tag_v2  # type: ignore[attr-defined]  # which images of TIFF files have
    stored = max(tags.get(_SAMPLE_FORMAT, (1,))), max(tags.get(_BITS, (1,)))
    if stored == (2, 8):
        return np.dtype(np.int8)
    return np.dtype(np.uint32) if stored == (1, 32) else decoded


def _unscaled(pixels: NDArray[Any], data: bytes) -> NDArray[Any]:
    """Return the numbers in a PGM file, whose largest Pillow has made 255 or 65535."""
    if pixels.dtype == np.bool_ or (white := _white(data)) == 255:
        return pixels
    return np.rint(pixels * (white / (255 if white < 255 else _WHITE))).astype(np.uint16)


def _check_mode(image: Image.Image, data: bytes, mask: bool, palette: Palette) -> None:
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
    if image.mode == "P" and palette == "indices" and not mask:  # its numbers are no brightness
        raise DataError(
            'is a picture with a palette; pass palette="colours" to read its colours, or save it '
            "as grey or RGB"
        )
    grey = "save it as grey" if mask else "save it as grey or RGB"
    if image.mode not in ("1", "L", "I;16", "I;16B", "I", "F", "P", "RGB"):
        raise DataError(f"is a picture of mode {image.mode!r}; {grey}")
    if mask and image.mode == "RGB":
        raise DataError("has 3 channels; a mask has one: save its classes as grey")
    if not mask and (white := _white(data)) < 255:
        raise DataError(f"has {white} as its white; save it as 8-bit, of which white is 255")
    if image.format == "TIFF" and _is_inverted(image):
        raise DataError("has 0 as its white, which programs read in different ways; save it as PNG")
    turned = image.getexif().get(_ORIENTATION, 1)
    if turned and turned != 1:
        raise DataError(
            f"is stored turned (EXIF orientation {turned}), so programs show it in different ways; "
            "save it upright"
        )


def _is_inverted(image: Image.Image) -> bool:
    """Return whether a TIFF has 0 as its white, which Pillow turns round in 8 bits only."""
    white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]  # of TIFF
    return white_is_zero and image.mode not in ("1", "L")


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]  # of the header, which is always the first chunk
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS, (1,)))  # type: ignore[attr-defined,no-any-return]  # of TIFF
    white = _white(data) if image.format == "PPM" else 255
    return white.bit_length() if white > 255 else 8


def _white(data: bytes) -> int:
    """Return the largest number that a PGM or PPM file may hold; of others 255."""
    header = _PNM_HEADER.match(data)
    return int(header[1]) if header else 255


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
