"""How many pixels any two label maps of an image share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.compiled import compiled
from probseg.metrics.foreground import Maps

Words = NDArray[np.unsignedinteger[Any]]  # (P / 8,), eight pixels of a mask, a byte each

_MOST = 255  # what a byte counts to


@compiled
def intersections(left: Maps, right: Maps, seen: Maps, classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class that any two label maps of an image share.

    Words of the maps in which nobody sees foreground are left out; of the others, eight pixels are
    compared at once and counted in a byte each.

    Args:
        left: (N, P), see :class:`~probseg.metrics.foreground.Image`.
        right: (A, P).
        seen: (P,).
        classes: How many there are, background, 0, included.

    Returns:
        (K - 1, N + A, N + A) for the foreground's classes; a map's size is on the diagonal.
    """
    places = np.flatnonzero(seen.view(np.uint64))
    maps = _gathered(left.view(np.uint64), right.view(np.uint64), places)
    labels = maps.view(left.dtype)
    count, pixels = labels.shape
    masks = np.zeros((count, -(-pixels // 8) * 8), np.uint8)
    words = masks.view(np.uint64)
    shared = np.empty((classes - 1, count, count), np.int64)
    kinds = np.arange(classes).astype(left.dtype)
    for k in range(1, classes):
        kind = kinds[k]
        for m in range(count):
            for p in range(pixels):
                masks[m, p] = labels[m, p] == kind
        for i in range(count):
            for j in range(i + 1):
                shared[k - 1, i, j] = shared[k - 1, j, i] = _common(words[i], words[j])
    return shared


@compiled
def _gathered(left: Words, right: Words, places: NDArray[np.int64]) -> Words:
    gathered = np.empty((len(left) + len(right), len(places)), left.dtype)
    for m in range(len(gathered)):
        words = left[m] if m < len(left) else right[m - len(left)]
        for p in range(len(places)):
            gathered[m, p] = words[places[p]]
    return gathered


@compiled
def _common(left: Words, right: Words) -> int:
    """Return how many bytes of two masks are one in both."""
    total = 0
    for start in range(0, len(left), _MOST):
        one, other = left[start : start + _MOST], right[start : start + _MOST]
        counters = np.uint64(0)
        for w in range(len(one)):
            counters += one[w] & other[w]
        for byte in range(8):
            total += int((counters >> np.uint64(8 * byte)) & np.uint64(255))
    return total
