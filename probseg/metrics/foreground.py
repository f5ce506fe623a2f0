"""Where somebody sees foreground: the pixels of an image that matter to masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Maps
from probseg.metrics.compiled import compiled


@compiled
def highest(left: Maps, right: Maps) -> Maps:
    """Return the highest label that any of an image's maps has; 0 is everybody's background.

    Args:
        left: (N, P), of any unsigned integers.
        right: (A, P), of the same dtype.

    Returns:
        (P,).
    """
    seen = np.zeros(left.shape[1], left.dtype)
    for maps in (left, right):
        for m in range(len(maps)):
            for p in range(len(seen)):
                seen[p] = max(seen[p], maps[m, p])
    return seen


@compiled
def extent(seen: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the smallest box around what is true in (H, W): top, bottom, left, right.

    Bottom and right are the first beyond it; all four are zero where nothing is true.
    """
    height, width = seen.shape
    columns = np.zeros(width, np.bool_)
    top, bottom = height, 0
    for y in range(height):
        if seen[y].any():
            columns |= seen[y]
            top, bottom = min(top, y), y + 1
    places = np.flatnonzero(columns)
    if len(places) == 0:
        return 0, 0, 0, 0
    return top, bottom, places[0], places[-1] + 1
