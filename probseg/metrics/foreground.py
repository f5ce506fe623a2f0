"""Where somebody sees foreground: the pixels of an image that matter to masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.compiled import compiled

Maps = NDArray[np.integer[Any]]  # (M, …), label maps of one image
Box = tuple[slice, slice]  # rows, columns


@compiled
def united(left: Maps, right: Maps) -> tuple[Maps, int]:
    """Return the bits that are set in any of the label maps, zero where all are background.

    Args:
        left: (N, P), of a whole number of 8-byte words.
        right: (A, P), of the same dtype.

    Returns:
        (P,), and the bits that are set anywhere, no fewer than the highest class.
    """
    seen = np.zeros(left.shape[1], left.dtype)
    words = seen.view(np.uint64)
    for maps in (left.view(np.uint64), right.view(np.uint64)):
        for m in range(len(maps)):
            for w in range(len(words)):
                words[w] |= maps[m, w]
    anywhere = np.zeros(1, np.uint64)
    for w in range(len(words)):
        anywhere[0] |= words[w]
    bits = 0
    for some in anywhere.view(left.dtype):
        bits |= int(some)
    return seen, bits


@compiled
def extent(seen: NDArray[Any]) -> tuple[int, int, int, int]:
    """Return the smallest box that holds what is not zero in (H, W): top, bottom, left, right.

    The last two of each pair are exclusive; all are zero where nothing is.
    """
    height, width = seen.shape
    columns = np.zeros(width, np.bool_)
    top, bottom = height, 0
    for y in range(height):
        found = False
        for x in range(width):
            there = seen[y, x] != 0
            columns[x] |= there
            found |= there
        if found:
            top, bottom = min(top, y), y + 1
    places = np.flatnonzero(columns)
    if len(places) == 0:
        return 0, 0, 0, 0
    return top, bottom, places[0], places[-1] + 1
