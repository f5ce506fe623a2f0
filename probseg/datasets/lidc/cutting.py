"""Where LIDC's nodules are cut out of their scans, and how a crop becomes a picture."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from probseg.datasets.lidc.database import Annotation
from probseg.datasets.lidc.nodules import READERS, Nodule
from probseg.datasets.lidc.rasterise import rasterise
from probseg.errors import DataError, OptionError

SIZE = 128
LUNG = (-1350.0, 150.0)  # HU: level -600, width 1500
Window = tuple[float, float] | Literal["crop"]


class Frame(NamedTuple):
    """A square of SIZE pixels in the slices of one scan."""

    origin: tuple[float, float]  # column and row of its first pixel, in pixels of the slices
    step: float  # between its pixels, in pixels of the slices


def slices_of(nodule: Nodule) -> list[float]:
    """Return the z in mm, ascending, of the slices that the nodule's reference reader outlined."""
    return sorted({contour.z for contour in _reference(nodule).contours})


def frame_around(nodule: Nodule, size: tuple[int, int], spacing: float | None = None) -> Frame:
    """Return the square around a nodule, moved into the slice where it would leave it.

    Its middle is the mean of all outline points of the reference reader, whole pixels of it. This
    was measured to be how the slices of LIDC that circulate as PNG files were cut.

    Args:
        nodule: The nodule.
        size: Rows and columns of the scan's slices.
        spacing: mm between the pixels of the square; by default those of the scan.

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
    """Return what a frame shows of a slice, interpolated linearly between its pixels."""
    column, row = frame.origin
    if frame.step == 1 and column.is_integer() and row.is_integer():
        return slice_[int(row) : int(row) + SIZE, int(column) : int(column) + SIZE]
    steps = np.arange(SIZE) * frame.step
    grid = np.meshgrid(row + steps, column + steps, indexing="ij")
    return map_coordinates(slice_, grid, order=1, mode="nearest")  # type: ignore[no-any-return]  # no stubs


def draw_masks(nodule: Nodule, z: float, frame: Frame) -> NDArray[np.uint8]:
    """Rasterise every reader's outlines in one slice; (4, SIZE, SIZE), missing readers empty."""
    masks = np.zeros((READERS, SIZE, SIZE), np.uint8)
    for mask, annotation in zip(masks, nodule.annotations, strict=False):
        outlines = [
            contour._replace(points=(contour.points - frame.origin) / frame.step)
            for contour in annotation.contours
            if contour.z == z
        ]
        mask[:] = rasterise(outlines, (0, 0), SIZE)
    return masks


def to_grey(crop: NDArray[np.float32], window: Window) -> NDArray[np.uint8]:
    """Map Hounsfield units to 0 to 255, over a window or over the crop's own minimum and maximum.

    Scaled and rounded as the PNG files were, which shows in values halfway between two greys.

    >>> to_grey(np.array([-2000.0, -600.0, 3000.0], np.float32), LUNG).tolist()
    [0, 128, 255]
    >>> to_grey(np.array([-1000.0, -600.0, 3000.0], np.float32), "crop").tolist()
    [0, 26, 255]
    """
    low, high = (float(crop.min()), float(crop.max())) if window == "crop" else window
    grey = (crop.astype(np.float64) - low) * (255 / max(high - low, 1))
    return np.floor(grey.clip(0, 255) + 0.5).astype(np.uint8)


def check_options(spacing: float | None, window: Window) -> None:
    """Refuse what is no spacing or no window.

    Raises:
        OptionError: See the message.
    """
    if spacing is not None and not (math.isfinite(spacing) and spacing > 0):
        raise OptionError(f"spacing is {spacing!r}; it can be None (as scanned) or mm, e.g. 0.5")
    if window == "crop":
        return
    try:
        low, high = map(float, window)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and high - low >= 1):
        raise OptionError(
            f'window is {window!r}; it can be "crop" or the HU of black and white, e.g. {LUNG}'
        )


def _reference(nodule: Nodule) -> Annotation:
    """The reader with the most outlines, the first of several."""
    return max(nodule.annotations, key=lambda annotation: len(annotation.contours))
