"""The Hausdorff distance between all foreground pixels of every pair of label maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.errors import OptionError
from probseg.metrics.checks import check_label_pair
from probseg.metrics.distance import Integers, Masks, disputed
from probseg.metrics.foreground import crops

Costs = NDArray[np.float64]  # (N, A)
OneEmpty = float | Literal["diagonal", "nan"]


def hausdorff_cost(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    one_empty: OneEmpty = "diagonal",
) -> Tensor:
    """Return the Hausdorff distance (eq. 16) of every pair, in pixels.

    ``max(max_c d(c, Ĉ), max_ĉ d(ĉ, C))`` over *all* foreground pixels C and Ĉ (libraries that take
    only their surfaces differ now and then). Zero where both are empty. With more than two classes
    it is the mean over the foreground classes, each with these rules.

    One distance transform per mask, of the pixels about which the masks of an image differ, serves
    every pair that the mask is in. Runs on the CPU, whatever the device of the labels.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.
        one_empty: The distance where one mask is empty and the other is not, which eq. 16 leaves
            undefined: ``"diagonal"`` is the image's, √(H² + W²), more than any two pixels'
            distance; a number of pixels; or ``"nan"``.

    Returns:
        (B, N, A) in pixels, float64.

    Raises:
        InputError: The label maps are none, or do not fit each other.
        OptionError: ``one_empty`` is something else.
    """
    sets = check_label_pair(predictions, annotations, classes)
    undefined, samples = _undefined(one_empty, *annotations.shape[2:]), predictions.shape[1]
    costs = [
        [_costs(maps == k, samples, undefined) for k in range(1, classes)] for maps in crops(*sets)
    ]
    return torch.from_numpy(np.mean(costs, axis=1)).to(annotations.device)


@dataclass(frozen=True)
class Hausdorff:
    """The kernel :func:`hausdorff_cost` with its policy for one empty mask."""

    one_empty: OneEmpty = "diagonal"

    def __post_init__(self) -> None:
        _undefined(self.one_empty, 1, 1)

    def __call__(self, predictions: Tensor, annotations: Tensor, /, *, classes: int = 2) -> Tensor:
        """Return the distance of every pair, (B, N, A)."""
        return hausdorff_cost(predictions, annotations, classes=classes, one_empty=self.one_empty)


def _undefined(one_empty: OneEmpty, height: int, width: int) -> float:
    if one_empty == "diagonal":
        return math.hypot(height, width)
    if one_empty == "nan":
        return math.nan
    if isinstance(one_empty, str) or not one_empty >= 0:
        raise OptionError(
            f"one_empty must be 'diagonal', 'nan' or a distance in pixels; got {one_empty!r}"
        )
    return float(one_empty)


def _costs(masks: Masks, samples: int, undefined: float) -> Costs:
    seen = np.any(masks, axis=(1, 2))
    left, right = seen[:samples], seen[samples:]
    costs = np.where(left[:, None] == right, 0.0, undefined)
    costs[np.ix_(left, right)] = _distances(masks[seen], int(left.sum()))
    return costs


def _distances(masks: Masks, samples: int) -> Costs:
    if samples in (0, len(masks)):
        return np.zeros((samples, len(masks) - samples))
    # To pixels that all masks have the distance is zero.
    inside, squares = disputed(masks)
    left, right = slice(None, samples), slice(samples, None)
    there = _farthest(inside[left, None], squares[None, right])
    back = _farthest(inside[None, right], squares[left, None])
    return np.sqrt(np.maximum(there, back), dtype=np.float64)


def _farthest(inside: NDArray[np.bool_], squares: Integers) -> Integers:
    farthest: Integers = (inside * squares).max(2, initial=0)
    return farthest
