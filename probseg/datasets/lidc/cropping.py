"""Crops around LIDC's nodules: their slices, their frames, and their grey values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from probseg.datasets.formats.dicom import SliceHeader
from probseg.datasets.intensities import PERCENTILES
from probseg.datasets.lidc.nodules import (
    READERS,
    Annotation,
    Contour,
    Nodule,
    Scan,
    cluster,
    reading_sessions,
)
from probseg.errors import DataError, OptionError
from probseg.options import check_number

SIZE = 128
LUNG = (-1350.0, 150.0)  # HU: level -600, width 1500
_NEAR = 0.1  # mm between an outline's z and its slice's; slices are at least 0.45 apart
_TOLERANCE = 1e-3  # relative, between the pixel spacing of a file and of the database
Window = tuple[float, float] | Literal["crop", "percentiles"]


class Frame(NamedTuple):
    """A square of SIZE pixels in the slices of one scan."""

    origin: tuple[float, float]  # column and row of its first pixel, in pixels of the slices
    step: float  # between its pixels, in pixels of the slices


class Crop(NamedTuple):
    """One slice of a nodule, to cut out of its scan."""

    name: str
    nodule: Nodule
    z: float  # mm
    frame: Frame
    files: list[str]  # more than one if there are copies
    neighbours: Sequence[tuple[int, list[Contour]]] = ()  # the mask and outlines of others


def plan_crops(
    scan: Scan,
    label: str,
    files: list[tuple[str, SliceHeader]],
    spacing: float | None,
    *,
    neighbours: bool = True,
) -> tuple[list[Crop], list[str]]:
    """Return the crops of a scan, whose names begin with ``label``, and a fault if it lacks slices.

    Each crop knows the outlines of the other nodules that it shows, unless ``neighbours`` is false.

    Raises:
        DataError: The slices differ from each other or from the database, or are too small.
    """
    size = _common_size(scan, files)
    positions = np.array([header.z for _, header in files])
    crops, expected, missing = [], set[float](), set[float]()
    nodules = cluster(scan)
    readers = reading_sessions(scan, nodules)
    for nodule in nodules:
        if len(nodule.annotations) > READERS:
            continue
        others = [other for other in nodules if neighbours and other is not nodule]
        slots = _slots(nodule, others, readers)
        frame = frame_around(nodule, size, spacing)
        small = nodule._replace(scan=scan._replace(annotations=[]))  # to send to a process
        for number, z in enumerate(sorted({contour.z for contour in _reference(nodule).contours})):
            expected.add(z)
            near = np.flatnonzero(np.abs(positions - z) <= _NEAR)
            if len(near):
                name = f"{label}/nodule-{nodule.number}/slice-{number}"
                names = sorted(files[row][0] for row in near)
                crops.append(Crop(name, small, z, frame, names, _shown(slots, z, frame)))
            else:
                missing.add(z)
    faults = [
        f"{label}: lacks {len(missing)} of its {len(expected)} outlined slices, z = "
        f"{', '.join(f'{z:g}' for z in sorted(missing))} mm (series {scan.series})"
    ]
    return crops, faults if missing else []


def _slots(
    nodule: Nodule, others: Sequence[Nodule], readers: Mapping[int, int]
) -> list[tuple[int, Annotation]]:
    """Return the annotations of other nodules, each with the mask it belongs to in a crop.

    That is the mask of the reader who made it, or of a reader who did not outline the nodule.
    """
    masks = {readers[id(one)]: mask for mask, one in reversed([*enumerate(nodule.annotations)])}
    free = iter(range(len(nodule.annotations), READERS))
    placed = []
    for annotation in (one for other in others for one in other.annotations):
        reader = readers[id(annotation)]
        if reader not in masks:
            masks[reader] = next(free, READERS - 1)
        placed.append((masks[reader], annotation))
    return placed


def _shown(
    placed: Sequence[tuple[int, Annotation]], z: float, frame: Frame
) -> list[tuple[int, list[Contour]]]:
    """Return the outlines in one slice of a frame, by mask."""
    low = np.array(frame.origin)
    high = low + (SIZE - 1) * frame.step
    shown = []
    for mask, annotation in placed:
        here = [contour for contour in annotation.contours if contour.z == z]
        inside = [(c.points.max(0) > low).all() and (c.points.min(0) < high).all() for c in here]
        if any(inside):
            shown.append((mask, here))
    return shown


def _common_size(scan: Scan, files: list[tuple[str, SliceHeader]]) -> tuple[int, int]:
    """Return the size of a scan's slices, after comparing them with each other and the database."""
    first, (*_, size) = files[0]
    for name, header in files:
        if not np.allclose(header.spacing, scan.spacing, rtol=_TOLERANCE, atol=0):
            raise DataError(
                f"{name} has pixels of {header.spacing[0]:g}x{header.spacing[1]:g} mm, "
                f"the scan {scan.spacing:g} mm in the database"
            )
        if header.size != size:
            raise DataError(
                f"{name} has {header.size[0]}x{header.size[1]} pixels and {first} "
                f"{size[0]}x{size[1]}"
            )
    return size


def frame_around(nodule: Nodule, size: tuple[int, int], spacing: float | None = None) -> Frame:
    """Return the square around a nodule, moved into the slice where it would leave it.

    ``size`` is rows and columns of the slices, ``spacing`` the mm between the square's pixels (by
    default the scan's own). Its middle is the mean of all outline points of the reference reader,
    in whole pixels. The slices that circulate as PNG files were measured to be cut this way.

    Raises:
        DataError: The square is larger than the slices.
    """
    step = 1.0 if spacing is None else spacing / nodule.scan.spacing
    points = np.concatenate([contour.points for contour in _reference(nodule).contours])
    last = np.array(size[::-1]) - 1 - (SIZE - 1) * step
    if (last < 0).any():
        raise DataError(
            f"{SIZE} pixels of {step * nodule.scan.spacing:g} mm are more than its slices have "
            f"({size[0]}x{size[1]} of {nodule.scan.spacing:g} mm)"
        )
    column, row = np.clip(np.floor(points.mean(axis=0)) - SIZE // 2 * step, 0, last)
    return Frame((float(column), float(row)), step)


def cut(slice_: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
    """Return the pixels of a frame in a slice, interpolated linearly between the slice's pixels."""
    column, row = frame.origin
    if frame.step == 1 and column.is_integer() and row.is_integer():
        return slice_[int(row) : int(row) + SIZE, int(column) : int(column) + SIZE]
    steps = np.arange(SIZE) * frame.step
    grid = np.meshgrid(row + steps, column + steps, indexing="ij")
    return map_coordinates(slice_, grid, order=1, mode="nearest")  # type: ignore[no-any-return]  # no stubs


def to_gray(crop: NDArray[np.float32], window: Window) -> NDArray[np.uint8]:
    """Map Hounsfield units to 0 to 255, over a window or over the crop's own extremes.

    Values are scaled and rounded as in the PNG files that circulate, also halfway between two
    levels.

    >>> to_gray(np.array([-2000.0, -600.0, 3000.0], np.float32), LUNG).tolist()
    [0, 128, 255]
    >>> to_gray(np.array([-1000.0, -600.0, 3000.0], np.float32), "crop").tolist()
    [0, 26, 255]
    """
    if isinstance(window, str):
        ends = (0, 100) if window == "crop" else PERCENTILES
        low, high = (float(value) for value in np.percentile(crop, ends))
    else:
        low, high = window
    gray = (crop.astype(np.float64) - low) * (255 / max(high - low, 1))
    return np.floor(gray.clip(0, 255) + 0.5).astype(np.uint8)


def check_crop_options(spacing: float | None, window: Window) -> None:
    """Check the spacing and window of crops.

    Raises:
        OptionError: The spacing is not positive, or the window no range of at least 1 HU.
    """
    if spacing is not None:
        check_number("spacing", spacing)
    try:
        own = window in ("crop", "percentiles")
        low, high = (0.0, 1.0) if own else map(float, window)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and high - low >= 1):
        raise OptionError(
            'window must be "crop", "percentiles" or the HU of black and white, '
            f"e.g. {LUNG}, not {window!r}"
        )


def _reference(nodule: Nodule) -> Annotation:
    """The reader with the most outlines, the first of several."""
    return max(nodule.annotations, key=lambda annotation: len(annotation.contours))
