"""Where somebody sees foreground: the pixels of an image that matter to masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Labels, check_range
from probseg.metrics.compiled import compiled

Maps = NDArray[np.integer[Any]]  # (M, P), label maps of one image


class Image(NamedTuple):
    """The label maps of an image, each a whole number of 8-byte words."""

    left: Maps  # (N, P)
    right: Maps  # (A, P), of the same dtype
    seen: Maps  # (P,), the bits that are set in any of them; zero where all see background


def images(*sets: Labels) -> Iterator[Image]:
    """Yield the images of two sets of label maps, or of one and none.

    Raises:
        InputError: A set holds a class that there is not.
    """
    left, *others = (labels.pixels() for labels in sets)
    (right,) = others or (left[:, :0],)
    for some, more in zip(left, right, strict=True):
        seen, bits = _united(some, more)
        if bits >= sets[0].classes:  # as those of classes 1 and 2 of three together are
            for labels in sets:
                check_range(labels.name, labels.maps.min(), labels.maps.max(), labels.classes)
        yield Image(some, more, seen)


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


@compiled
def _united(left: Maps, right: Maps) -> tuple[Maps, int]:
    """Return the bits that are set in any label map, of each pixel and of all."""
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
