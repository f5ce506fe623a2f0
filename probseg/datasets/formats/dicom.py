"""Single pictures in DICOM files, of CT in Hounsfield units, read exactly or refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError
from probseg.utils.imports import require

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

_PREAMBLE, _MAGIC = 128, b"DICM"  # PS3.10, section 7.1
_UPRIGHT = 0.999  # cosine of the angle between a slice's normal and the body's axis: 2.6 degrees
_TAGS = (
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
)


class SliceHeader(NamedTuple):
    """Series, position and size of a slice."""

    series: str  # SeriesInstanceUID
    z: float  # mm
    spacing: tuple[float, float]  # mm between rows, between columns
    size: tuple[int, int]  # rows, columns


def read_header(path: Path, series: Container[str]) -> SliceHeader | None:
    """Return the header of a slice, or None if the file is no DICOM file or of another series.

    Raises:
        DataError: The file is called ``.dcm`` and is no DICOM file; or it is of such a series, and
            damaged, without position, orientation or spacing, or not axial.
        MissingDependencyError: pydicom is not installed.
    """
    if not _is_dicom(path):
        return None
    dataset = _parse(path, pixels=False)
    uid = str(_uid(dataset, "SeriesInstanceUID"))
    if not uid and path.suffix.lower() == ".dcm":
        raise DataError("is not a complete DICOM file (it has no SeriesInstanceUID)")
    if uid not in series:
        return None
    position = _numbers(dataset, "ImagePositionPatient", 3)
    across, down = _numbers(dataset, "ImageOrientationPatient", 6).reshape(2, 3)
    normal = np.cross(across, down)
    if not abs(normal[2]) >= _UPRIGHT:
        raise DataError(f"is not axial: the normal of its plane is {np.round(normal, 3).tolist()}")
    spacing, size = _numbers(dataset, "PixelSpacing", 2), _size(dataset)
    if not (spacing > 0).all():
        raise DataError(f"has pixels of {spacing.tolist()} mm")
    return SliceHeader(uid, float(position[2]), (float(spacing[0]), float(spacing[1])), size)


def read_hounsfield(path: Path) -> NDArray[np.float32]:
    """Decode one slice, (rows, columns) in Hounsfield units: value · slope + intercept.

    Raises:
        DataError: The file is damaged, its compression cannot be decoded, it is no greyscale
            picture, or has no rescale slope and intercept.
        MissingDependencyError: pydicom is not installed.
    """
    dataset = _parse(path, pixels=True)
    slope, intercept = (
        float(_numbers(dataset, name, 1)[0]) for name in ("RescaleSlope", "RescaleIntercept")
    )
    if slope <= 0:
        raise DataError(f"has the rescale slope {slope:g}")
    stored = _pixels(dataset)
    if stored.shape != (size := _size(dataset)):
        raise DataError(f"has pixels of shape {stored.shape}, not one slice of {size}")
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def read_slice(data: bytes) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Decode one greyscale picture of any modality, and the mm between its rows and columns.

    Its values are stored value · slope + intercept where it has those. Where 0 is stored for white
    (MONOCHROME1), values are turned round within what can be stored, so that white is the largest.

    Raises:
        DataError: The bytes are not a complete DICOM file of one greyscale picture.
        MissingDependencyError: pydicom is not installed.
    """
    dataset = _parse(io.BytesIO(data), pixels=True)
    kind = str(dataset.get("PhotometricInterpretation", ""))
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"is a DICOM file in {kind or 'unknown colours'}; save it as .png")
    stored = _pixels(dataset)
    if stored.shape != (size := _size(dataset)):
        raise DataError(f"has pixels of shape {stored.shape}, not one picture of {size}")
    if "ModalityLUTSequence" in dataset:
        raise DataError("has its values in a table (ModalityLUTSequence); save it as .npy or .png")
    if kind == "MONOCHROME1":
        stored = _turned(stored, dataset)
    given = [name for name in ("RescaleSlope", "RescaleIntercept") if name in dataset]
    slope, intercept = (_numbers(dataset, n, 1)[0] for n in given) if len(given) == 2 else (1, 0)
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    spacing = _numbers(dataset, "PixelSpacing", 2) if "PixelSpacing" in dataset else (np.nan,) * 2
    return values, (float(spacing[0]), float(spacing[1]))


def _turned(stored: NDArray[np.generic], dataset: Dataset) -> NDArray[np.int64]:
    """Return stored values with the smallest that can be stored as the largest, and so on."""
    bits, signed = (int(_numbers(dataset, n, 1)[0]) for n in ("BitsStored", "PixelRepresentation"))
    return (-1 if signed else 2**bits - 1) - stored.astype(np.int64)


def _is_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(_PREAMBLE + len(_MAGIC))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    dicom = start[_PREAMBLE:] == _MAGIC
    if not dicom and path.suffix.lower() == ".dcm":
        raise DataError("is no DICOM file" if start else "is empty")
    return dicom


def _parse(path: Path | BinaryIO, *, pixels: bool) -> Dataset:
    pydicom = require("pydicom", extra="data", for_="reading DICOM files")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd values in tags that are not read here
            return pydicom.dcmread(  # type: ignore[no-any-return]  # require returns Any
                path, stop_before_pixels=not pixels, specific_tags=None if pixels else [*_TAGS]
            )
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"is not a complete DICOM file ({_reason(error)})") from error


def _pixels(dataset: Dataset) -> NDArray[np.generic]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about bytes after the last pixel
            return np.asarray(dataset.pixel_array)
    except Exception as error:
        syntax = _uid(dataset.file_meta, "TransferSyntaxUID").name
        raise DataError(
            f"has pixels that cannot be decoded as {syntax}: they are damaged, or pydicom lacks a "
            "plugin for that (pip install 'pylibjpeg[all]')"
        ) from error


def _uid(dataset: Dataset, name: str) -> UID:
    from pydicom.uid import UID

    try:
        return UID(str(dataset.get(name, "")))
    except Exception as error:
        raise DataError(f"is not a complete DICOM file ({_reason(error)})") from error


def _numbers(dataset: Dataset, name: str, count: int) -> NDArray[np.float64]:
    try:
        numbers = np.array(dataset[name].value, np.float64).reshape(-1)
    except Exception as error:
        raise DataError(f"has no readable {name}") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DataError(f"has {numbers.tolist()} and not {count} numbers as {name}")
    return numbers


def _size(dataset: Dataset) -> tuple[int, int]:
    rows, columns = (int(_numbers(dataset, name, 1)[0]) for name in ("Rows", "Columns"))
    return rows, columns


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
