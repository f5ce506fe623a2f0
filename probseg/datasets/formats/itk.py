"""Strict reading of NRRD and MetaImage files, which SimpleITK decodes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.nifti import LARGEST, Volume, four_axes
from probseg.errors import DataError
from probseg.utils.imports import require

_HEADER = 1 << 16  # bytes in which a header ends
# what lets a header name other files, which may lie anywhere
_OTHER_FILES = re.compile(
    rb"^(?:data ?file\s*:|ElementDataFile\s*=(?!\s*LOCAL\b))", re.IGNORECASE | re.MULTILINE
)
_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # ITK's axes run to the left, posterior and superior


def read_itk(data: bytes, suffix: str, *, flat: bool) -> Volume:
    """Decode a ``.nrrd`` or ``.mha`` file; the arguments are those of ``read_nifti``.

    Raises:
        DataError: The bytes are not a complete file, have other axes, refer to another file, or
            claim more than 512 MiB.
        MissingDependencyError: SimpleITK is not installed.
    """
    if not data:
        raise DataError("is empty")
    itk = require("SimpleITK", extra="data", for_=f"reading {suffix} files")
    if _OTHER_FILES.search(data[:_HEADER].split(b"\n\n")[0]):
        raise DataError("keeps its pixels in another file; save both as one")
    with TemporaryDirectory() as folder:
        file = Path(folder, f"volume{suffix}")
        file.write_bytes(data)
        image = _decode(itk, str(file))
    dimension, pixels = image.GetDimension(), itk.GetArrayFromImage(image)
    if pixels.dtype.kind not in "buif":
        raise DataError(f"has voxels of type {pixels.dtype}, not real numbers")
    channels = image.GetNumberOfComponentsPerPixel()
    stored = pixels.reshape(*image.GetSize()[::-1], channels)
    voxels = np.transpose(stored, (*reversed(range(dimension)), dimension))
    if dimension == 2:
        voxels = voxels[:, :, None]
    spacing, affine = _geometry(image)
    return Volume(four_axes(voxels, flat), affine, spacing)


def _decode(itk: Any, file: str) -> Any:
    try:
        reader = itk.ImageFileReader()
        reader.SetFileName(file)
        reader.ReadImageInformation()
        shape = reader.GetSize()
        size = math.prod(shape) * reader.GetNumberOfComponents() * _bytes(itk, reader)
        if size > LARGEST:
            raise DataError(f"claims {'x'.join(map(str, shape))} voxels, more than {LARGEST} bytes")
        return reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        kind = "NRRD" if file.endswith(".nrrd") else "MetaImage"
        raise DataError(f"is not a complete {kind} file ({reason[-200:]})") from error


def _bytes(itk: Any, reader: Any) -> int:
    """Return the bytes of a voxel's value."""
    bits = re.search(r"(\d+)-bit", itk.GetPixelIDValueAsString(reader.GetPixelID()))
    return int(bits[1]) // 8 if bits else 1


def _geometry(image: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spacing (3,), NaN along a picture's third axis, and the affine to RAS+ mm."""
    n = min(image.GetDimension(), 3)
    spacing, affine = np.full(3, np.nan), np.eye(4)
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:n, :n]
    spacing[:n] = image.GetSpacing()[:n]
    affine[:n, :n] = direction * spacing[:n]
    affine[:n, 3] = image.GetOrigin()[:n]
    affine[:3] = _TO_RAS @ affine[:3]
    return spacing, affine
