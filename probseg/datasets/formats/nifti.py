"""Strict reading of NIfTI files from their bytes; no header makes it allocate what is not there."""

from __future__ import annotations

import gzip
import io
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError, MissingDataError

_HEADER = 540  # bytes of the longer of the two headers, NIfTI-2's
_PIECE, _MORE = 1 << 20, 1 << 22  # bytes
_LARGEST = 1 << 29  # bytes of a file, unpacked: 256 slices of 512x512 in double precision
_MILLIMETRES = {1: 1e3, 3: 1e-3}  # of the units metre and micrometre; others are or mean mm


class Volume(NamedTuple):
    """Voxels as they are stored, and where the header says that they lie."""

    voxels: NDArray[Any]  # (X, Y, Z, C)
    affine: NDArray[np.float64] | None  # (4, 4), voxels to RAS+ mm; None if the header has none
    zooms: NDArray[np.float64]  # (3,) mm along X, Y, Z; NaN where unknown


def read_nifti(data: bytes, *, flat: bool) -> Volume:
    """Decode a NIfTI-1 or NIfTI-2 file, compressed or not.

    Args:
        data: The file's bytes.
        flat: Whether it is one picture, (X, Y), whose further axis, if any, counts channels;
            otherwise it is a volume (X, Y, Z).

    Raises:
        DataError: The bytes are no whole file, of other axes, or unpack to more than 512 MiB.
        MissingDataError: nibabel is not installed.
    """
    if not data:
        raise DataError("is empty")
    library = nibabel()
    try:
        with np.errstate(all="ignore"):
            image = _decode(library, data)
            voxels = np.asanyarray(image.dataobj)
            affine = np.asarray(image.affine, np.float64)
    except DataError:
        raise
    except Exception as error:  # a damaged header leads nibabel to errors of any type
        raise DataError(f"is no whole NIfTI file ({error})") from error
    if voxels.dtype.kind not in "buif":
        raise DataError(f"has voxels of type {voxels.dtype}, not real numbers")
    return Volume(_four_axes(voxels, flat), _placed(image.header, affine), _zooms(image.header))


def nibabel() -> Any:
    """Return the package that reads NIfTI, which is an extra.

    Raises:
        MissingDataError: It is not installed.
    """
    try:
        import nibabel as package
    except ImportError as error:
        raise MissingDataError(
            "NIfTI files are read with nibabel: pip install 'probseg[data]'"
        ) from error
    return package


def _decode(library: Any, data: bytes) -> Any:
    packed = data.startswith(b"\x1f\x8b")
    stream = gzip.GzipFile(fileobj=io.BytesIO(data)) if packed else io.BytesIO(data)
    head = stream.read(_HEADER)
    kinds = (library.Nifti1Image, library.Nifti2Image)
    kind = next((k for k in kinds if k.header_class.may_contain_header(head)), None)
    if kind is None:
        raise DataError("is no NIfTI file")
    length = _length(kind.header_class, head)
    content = head + _read(stream, length - len(head))
    if len(content) < length:
        raise DataError(f"is truncated: it has {len(content)} of {length} bytes")
    if len(_read(stream, _MORE)) == _MORE:  # the checksum is at the end, whatever a header says
        raise DataError("goes on far beyond its voxels")
    return kind.from_bytes(content)


def _read(stream: Any, count: int) -> bytes:
    # In pieces, because reading sets aside what is asked for, be it there or not.
    pieces = []
    while count > 0 and (piece := stream.read(min(count, _PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _length(kind: Any, head: bytes) -> int:
    """Return the bytes that a header claims, after looking whether they can be meant."""
    header = kind(head[: kind.template_dtype.itemsize], check=False)
    shape = [int(extent) for extent in header.get_data_shape()]
    size = math.prod(shape) * int(header.get_data_dtype().itemsize)
    if min(shape, default=0) < 1:
        raise DataError(f"claims a shape of {tuple(shape)}")
    if size > _LARGEST:
        raise DataError(f"claims {'x'.join(map(str, shape))} voxels, more than {_LARGEST} bytes")
    return int(header["vox_offset"]) + size


def _four_axes(voxels: NDArray[Any], flat: bool) -> NDArray[Any]:
    more = [extent for extent in voxels.shape[2 if flat else 3 :] if extent > 1]
    if voxels.ndim < (2 if flat else 3) or len(more) > (1 if flat else 0):
        what = "a picture with channels" if flat else "a volume"
        raise DataError(f"has the shape {voxels.shape}, which is not {what}")
    height, width = voxels.shape[:2]
    depth = 1 if flat else voxels.shape[2]
    return voxels.reshape(height, width, depth, -1)


def _placed(header: Any, affine: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if not (header["qform_code"] or header["sform_code"]):
        return None
    if not np.isfinite(affine).all():
        raise DataError("has an affine that is not finite")
    return affine


def _zooms(header: Any) -> NDArray[np.float64]:
    zooms = np.full(3, np.nan)
    stored = np.asarray(header.get_zooms()[:3], np.float64)
    known = np.isfinite(stored) & (stored > 0)
    zooms[: len(stored)] = np.where(known, stored, np.nan)
    return zooms * _MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
