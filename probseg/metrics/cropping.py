"""The part of an image that matters to masks: the box around everybody's foreground."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Labels

Box = tuple[slice, slice]  # rows, columns
Maps = NDArray[np.integer[Any]]  # (M, h, w), the label maps of one image


def crops(*sets: Labels) -> list[Maps]:
    """Return each image's label maps, of all sets in order, without the margin around them.

    The margin is background in every map, so that no intersection, size or distance depends on it.
    """
    highest = reduce(np.maximum, (labels.highest for labels in sets))
    images = zip(*(labels.maps for labels in sets), strict=True)
    return [
        np.concatenate([maps[:, *box] for maps in image])
        for box, image in zip(boxes(highest), images, strict=True)
    ]


def boxes(highest: NDArray[np.integer[Any]]) -> list[Box]:
    """Return the smallest box around the foreground of each (B, H, W), of one pixel at least."""
    seen = highest > 0
    rows, columns = np.any(seen, axis=2), np.any(seen, axis=1)
    return list(zip(_spans(rows), _spans(columns), strict=True))


def _spans(lines: NDArray[np.bool_]) -> list[slice]:
    first = lines.argmax(1)
    end = np.where(lines.any(1), lines.shape[1] - lines[:, ::-1].argmax(1), 1)
    return list(map(slice, first.tolist(), end.tolist()))
