"""Hausdorff distances from exact Euclidean distances to masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Maps
from probseg.metrics.compiled import compiled

Masks = NDArray[np.bool_]  # (M, h, w)
Squares = NDArray[np.int64]  # (P,), the squared distance from a mask to each pixel


@compiled
def distances(
    left: Maps,
    right: Maps,
    width: int,
    box: tuple[int, int, int, int],
    classes: int,
    one_empty: float,
) -> NDArray[np.float64]:
    """Return the Hausdorff distance of every pair, as the mean over the foreground's classes.

    Args:
        left: (N, P), label maps, row by row.
        right: (A, P), of the same dtype.
        width: W of the image.
        box: Around all foreground, see :func:`~probseg.metrics.foreground.extent`.
        classes: How many there are, background, 0, included.
        one_empty: The distance where one mask is empty and the other is not.

    Returns:
        (N, A) in pixels.
    """
    top, bottom, start, end = box
    masks = np.empty((len(left) + len(right), bottom - top, end - start), np.bool_)
    costs = np.zeros((len(left), len(right)))
    kinds = np.arange(classes).astype(left.dtype)
    for k in range(1, classes):
        kind = kinds[k]
        for m in range(len(masks)):
            labels = left[m] if m < len(left) else right[m - len(left)]
            for y in range(bottom - top):
                line = labels[(top + y) * width + start : (top + y) * width + end]
                for x in range(end - start):
                    masks[m, y, x] = line[x] == kind
        _add(costs, masks, one_empty)
    return costs / (classes - 1)


@compiled
def _add(costs: NDArray[np.float64], masks: Masks, one_empty: float) -> None:
    """Add the distance of every pair of masks, the first N with the last A, to (N, A)."""
    count = len(masks)
    some = np.zeros(count, np.bool_)
    for m in range(count):
        some[m] = masks[m].any()
    y, x = _disputed(masks, some)
    squares = np.zeros((count, len(y)), np.int64)
    for m in range(count):
        if some[m]:
            _transform(masks[m], y, x, squares[m])
    samples = len(costs)
    for n in range(samples):
        for a in range(samples, count):
            if some[n] and some[a]:
                costs[n, a - samples] += np.sqrt(_farthest(squares[n], squares[a]))
            elif some[n] or some[a]:
                costs[n, a - samples] += one_empty


@compiled
def _disputed(masks: Masks, some: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels that are in some masks and not in all that have any: no other can count."""
    votes = np.zeros(masks.shape[1:], np.int64)
    for m in range(len(masks)):
        votes += masks[m]
    y, x = ((votes > 0) & (votes < some.sum())).nonzero()
    return y, x


@compiled
def _transform(mask: NDArray[np.bool_], y: NDArray[Any], x: NDArray[Any], squares: Squares) -> None:
    """Write the squared distances from a mask that has some pixels, (h, w), to others, (P,).

    ``min_y' (y − y')² + min_x' (x − x')²`` over its pixels (y', x'): along each row first, then
    from the pixel's own row outwards until no farther row can come nearer.

    References:
        Saito and Toriwaki, New algorithms for Euclidean distance transformation of an
        n-dimensional digitized picture with applications, Pattern Recognition 27(11), 1994.
    """
    height, along = len(mask), _along(mask)
    for p in range(len(y)):
        row, column = y[p], x[p]
        nearest = along[row, column] ** 2
        for step in range(1, max(row + 1, height - row)):
            if step**2 >= nearest:
                break
            if step <= row:
                nearest = min(nearest, step**2 + along[row - step, column] ** 2)
            if row + step < height:
                nearest = min(nearest, step**2 + along[row + step, column] ** 2)
        squares[p] = nearest


@compiled
def _along(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the distance to the nearest pixel of the same row, beyond any where it has none."""
    height, width = mask.shape
    far = height + width
    along = np.empty((height, width), np.int64)
    for row in range(height):
        distance = far
        for column in range(width):
            distance = 0 if mask[row, column] else distance + 1
            along[row, column] = distance
        distance = far
        for column in range(width - 1, -1, -1):
            distance = 0 if mask[row, column] else distance + 1
            along[row, column] = min(along[row, column], distance)
    return along


@compiled
def _farthest(left: Squares, right: Squares) -> int:
    """Return the largest squared distance from a pixel of one of two masks to the other."""
    farthest = 0
    for p in range(len(left)):
        if min(left[p], right[p]) == 0:  # a mask's own pixel
            farthest = max(farthest, left[p], right[p])
    return farthest
