"""Hausdorff distances between all foreground pixels of every pair of label maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.errors import OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import Maps, label_maps, shared
from probseg.metrics.label_maps import Pixels, check_highest, check_label_pair
from probseg.metrics.overlap import bounding_box, compiled
from probseg.utils.devices import float64_device

OneEmpty = float | Literal["diagonal", "nan"]
Costs = NDArray[np.float64]  # (N, A)
Masks = NDArray[np.bool_]  # (M, h, w)
Squares = NDArray[np.int64]  # (P,), the squared distance from a mask to each pixel


def hausdorff_cost(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    one_empty: OneEmpty = "diagonal",
    ignore_index: int | None = None,
) -> Tensor:
    """Return the Hausdorff distance, eq. (16) of docs/method.md, of every pair, in pixels.

    ``max(max_c d(c, Ĉ), max_ĉ d(ĉ, C))`` over *all* foreground pixels C and Ĉ (libraries that take
    only their surfaces differ sometimes). Zero where both are empty. With more than two classes
    it is the mean over the foreground classes, each with these rules.

    One distance transform per mask, of the pixels about which the masks of an image differ, serves
    every pair that the mask is in. Runs on the CPU, whatever the device of the label maps; from a
    device they are copied once, as bits.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.
        one_empty: The distance where one mask is empty and the other is not, which the equation
            leaves undefined: ``"diagonal"`` is the image's, √(H² + W²), more than any two pixels'
            distance; a number of pixels; or ``"nan"``.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.

    Returns:
        (B, N, A) in pixels, float64.

    Raises:
        InputError: These are not label maps, or they do not fit each other.
        OptionError: ``one_empty`` is anything else.
    """
    maps = Maps.of(check_label_pair(predictions, annotations, classes, ignore_index))
    return _distances_of(maps, one_empty).to(float64_device(annotations.device))


def _distances_of(maps: Maps, one_empty: OneEmpty) -> Tensor:
    """Return the distance of every pair, (B, N, A), on the CPU."""
    sets, (height, width) = maps.sets, maps.sets[0].maps.shape[2:]
    classes, undefined = sets[0].classes, _undefined(one_empty, height, width)

    def of_image(left: Pixels, right: Pixels) -> Costs:
        highest = highest_labels(left, right)
        check_highest(sets, highest.max())
        box = bounding_box(highest.reshape(height, width) != 0)
        return distances(left, right, width, box, classes, undefined)

    if (ignored := sets[1].ignored) is None:
        costs = [of_image(*image) for image in zip(*maps.pixels, strict=True)]
    else:
        hidden = ignored.flatten(2).cpu().numpy()
        images = zip(*maps.pixels, hidden, strict=True)
        costs = [_where_labelled(of_image, *image) for image in images]
    return torch.from_numpy(np.array(costs))


def _where_labelled(
    of_image: Callable[[Pixels, Pixels], Costs], left: Pixels, right: Pixels, hidden: Masks
) -> Costs:
    """Return the costs (N, A) of label maps (N, P) and (A, P) without pixels ``hidden`` (A, P).

    Annotations with the same hidden pixels are compared together.
    """
    costs = np.empty((len(left), len(right)))
    for pixels in np.unique(hidden, axis=0):
        same = (hidden == pixels).all(1)
        costs[:, same] = of_image(np.where(pixels, left.dtype.type(0), left), right[same])
    return costs


@dataclass(frozen=True)
class Hausdorff:
    """The distances :func:`hausdorff_cost` of an evaluation, with a policy for one empty mask."""

    one_empty: OneEmpty = "diagonal"

    def __post_init__(self) -> None:
        _undefined(self.one_empty, 1, 1)

    def __call__(self, evaluation: Evaluation) -> Tensor:
        """Return the distance of every pair, (B, N, A), on the CPU, where it was computed."""
        return _distances_of(shared(evaluation, label_maps), self.one_empty)


def _undefined(one_empty: OneEmpty, height: int, width: int) -> float:
    if one_empty == "diagonal":
        return math.hypot(height, width)
    if one_empty == "nan":
        return math.nan
    if isinstance(one_empty, str) or not one_empty >= 0:
        raise OptionError(
            f"one_empty must be 'diagonal', 'nan' or a distance in pixels, not {one_empty!r}"
        )
    return float(one_empty)


@compiled
def highest_labels(left: Pixels, right: Pixels) -> Pixels:
    """Return the highest label of each pixel in all maps of an image; 0 if all see background.

    Args:
        left: (N, P), of any unsigned integers.
        right: (A, P), of the same dtype.

    Returns:
        (P,).
    """
    highest = np.zeros(left.shape[1], left.dtype)
    for maps in (left, right):
        for m in range(len(maps)):
            for p in range(len(highest)):
                highest[p] = max(highest[p], maps[m, p])
    return highest


@compiled
def distances(
    left: Pixels,
    right: Pixels,
    width: int,
    box: tuple[int, int, int, int],
    classes: int,
    one_empty: float,
) -> NDArray[np.float64]:
    """Return the Hausdorff distance of every pair, the mean over the foreground classes.

    Args:
        left: (N, P), label maps, row after row.
        right: (A, P), of the same dtype.
        width: W of the image.
        box: Around all foreground: top, bottom, left, right, the second and last exclusive.
        classes: K, the background, 0, included.
        one_empty: The distance where one mask is empty and the other is not.

    Returns:
        (N, A) in pixels.
    """
    top, bottom, start, end = box
    masks = np.empty((len(left) + len(right), bottom - top, end - start), np.bool_)
    costs = np.zeros((len(left), len(right)))
    values = np.arange(classes).astype(left.dtype)
    for k in range(1, classes):
        value = values[k]
        for m in range(len(masks)):
            labels = left[m] if m < len(left) else right[m - len(left)]
            for y in range(bottom - top):
                line = labels[(top + y) * width + start : (top + y) * width + end]
                for x in range(end - start):
                    masks[m, y, x] = line[x] == value
        _add_distances(costs, masks, one_empty)
    return costs / (classes - 1)


@compiled
def _add_distances(costs: NDArray[np.float64], masks: Masks, one_empty: float) -> None:
    """Add the distance of every pair of masks, the first N with the last A, to (N, A)."""
    count = len(masks)
    occupied = np.zeros(count, np.bool_)
    for m in range(count):
        occupied[m] = masks[m].any()
    y, x = _disputed(masks, occupied)
    squares = np.zeros((count, len(y)), np.int64)
    for m in range(count):
        if occupied[m]:
            _squared_distances(masks[m], y, x, squares[m])
    samples = len(costs)
    for n in range(samples):
        for a in range(samples, count):
            if occupied[n] and occupied[a]:
                costs[n, a - samples] += np.sqrt(_farthest(squares[n], squares[a]))
            elif occupied[n] or occupied[a]:
                costs[n, a - samples] += one_empty


@compiled
def _disputed(masks: Masks, occupied: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return rows and columns of the pixels in some but not all non-empty masks: all that count."""
    votes = np.zeros(masks.shape[1:], np.int64)
    for m in range(len(masks)):
        votes += masks[m]
    y, x = ((votes > 0) & (votes < occupied.sum())).nonzero()
    return y, x


@compiled
def _squared_distances(
    mask: NDArray[np.bool_], y: NDArray[Any], x: NDArray[Any], squares: Squares
) -> None:
    """Write the squared distances from a non-empty mask (h, w) to the pixels (y, x), (P,).

    ``min_y' (y − y')² + min_x' (x − x')²`` over its pixels (y', x'): along each row first, then
    from the pixel's own row outwards until no farther row can be nearer.

    References:
        Saito and Toriwaki, New algorithms for Euclidean distance transformation of an
        n-dimensional digitized picture with applications, Pattern Recognition 27(11), 1994.
    """
    height, along = len(mask), _row_distances(mask)
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
def _row_distances(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the distance to the nearest pixel of the same row; h + w or more if it has none."""
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
        if min(left[p], right[p]) == 0:  # a pixel of one of the masks
            farthest = max(farthest, left[p], right[p])
    return farthest
