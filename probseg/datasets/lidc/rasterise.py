"""Outlines of a reader to the pixels inside of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from skimage.measure import grid_points_in_poly

from probseg.datasets.lidc.database import Contour

_OUTSIDE, _INSIDE = 0, 1  # grid_points_in_poly labels vertices and edges apart from both


def rasterise(contours: Iterable[Contour], origin: tuple[int, int], size: int) -> NDArray[np.uint8]:
    """Draw one reader's outlines in one slice.

    LIDC's readers drew the first pixels *outside* of a nodule, so only those strictly inside of an
    inclusion count; scikit-image tells them from the outline exactly, where a polygon fill
    keeps some of its edges and not others. An exclusion takes its outline with it.

    Args:
        contours: The outlines, of one slice.
        origin: Column and row of the window's first pixel.
        size: Height and width of the window in pixels.

    Returns:
        (size, size) uint8, 1 inside.
    """
    mask = np.zeros((size, size), np.uint8)
    for contour in sorted(contours, key=lambda contour: not contour.inclusion):
        rows_columns = (contour.points - origin)[:, ::-1]
        low = np.clip(np.floor(rows_columns.min(axis=0)).astype(int), 0, size)
        high = np.clip(np.ceil(rows_columns.max(axis=0)).astype(int) + 1, low, size)
        labels = grid_points_in_poly(high - low, rows_columns - low, binarize=False)  # type: ignore[no-untyped-call]
        window = mask[low[0] : high[0], low[1] : high[1]]
        if contour.inclusion:
            window |= (labels == _INSIDE).astype(np.uint8)
        else:
            window &= (labels == _OUTSIDE).astype(np.uint8)
    return mask
