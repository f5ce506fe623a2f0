"""Exact Euclidean distances from masks to the pixels that they disagree about."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (h, w)
Masks = NDArray[np.bool_]  # (M, h, w)
Integers = NDArray[np.integer[Any]]

_CACHED = 1 << 16  # pixels that are worked on at once


class Disputed(NamedTuple):
    """The P pixels that are in some of M masks and not in all of them."""

    inside: NDArray[np.bool_]  # (M, P), whether the mask has the pixel
    squares: Integers  # (M, P), the squared distance from the mask to the pixel


def disputed(masks: Masks) -> Disputed:
    """Return the pixels in dispute among masks that all have some.

    The distance transform of a mask is taken along its rows, then across them, ``min_y' (y − y')² +
    min_x' (x − x')²`` over its pixels (y', x'): from the nearest row outwards until no pixel in
    dispute can come nearer. Rows and columns without a pixel are left out.

    References:
        Saito and Toriwaki, New algorithms for Euclidean distance transformation of an
        n-dimensional digitized picture with applications, Pattern Recognition 27(11), 1994.
    """
    union, common = np.any(masks, axis=0), np.all(masks, axis=0)
    rows, columns = (np.flatnonzero(np.any(union, axis=axis)) for axis in (1, 0))
    asked = (union & ~common)[rows][:, columns]
    packed = np.ascontiguousarray(masks[:, rows][:, :, columns].swapaxes(0, 1))  # (h, M, w)
    count = max(1, _CACHED // asked.size)
    parts = [packed[:, start : start + count] for start in range(0, len(masks), count)]
    squares = np.concatenate([_transform(part, rows, columns, asked) for part in parts], axis=1)
    y, x = asked.nonzero()
    return Disputed(*(np.ascontiguousarray(some[y, :, x].T) for some in (packed, squares)))


def _transform(masks: Masks, rows: Integers, columns: Integers, asked: Mask) -> Integers:
    """Return squared distances (h, M, w) where they are asked for, and zero elsewhere."""
    height, width = int(rows[-1] - rows[0]), int(columns[-1] - columns[0])
    far = 1 + math.isqrt(height**2 + width**2)  # beyond any distance
    exact = np.min_scalar_type(-2 * far**2)
    rows, columns = (rows - rows[0]).astype(exact), (columns - columns[0]).astype(exact)
    along = np.square(_along(masks, columns, far))
    nearest = along * asked[:, None]
    for step in range(1, len(rows)):
        if step**2 >= nearest.max():
            break
        across = np.square(rows[step:] - rows[:-step])[:, None, None]
        np.minimum(nearest[step:], along[:-step] + across, out=nearest[step:])
        np.minimum(nearest[:-step], along[step:] + across, out=nearest[:-step])
    return nearest


def _along(masks: Masks, columns: Integers, far: int) -> Integers:
    """Return the distance to the nearest pixel of the same row, ``far`` where it has none."""
    left = np.maximum.accumulate(np.where(masks, columns, -far), axis=2)
    right = np.where(masks, columns, columns[-1] + far)[..., ::-1]
    right = np.minimum.accumulate(right, axis=2)[..., ::-1]
    nearest: Integers = np.minimum(np.minimum(columns - left, right - columns), far)
    return nearest
