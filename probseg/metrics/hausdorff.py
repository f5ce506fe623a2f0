"""The Hausdorff distance between all foreground pixels of every pair of label maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from probseg.errors import OptionError
from probseg.metrics.checks import check_highest, check_label_pair
from probseg.metrics.distance import distances
from probseg.metrics.foreground import extent, highest
from probseg.metrics.precision import float64_device

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
    every pair that the mask is in. Runs on the CPU, whatever the device of the labels; from a
    device they are copied once, as bits.

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
    height, width = annotations.shape[2:]
    undefined = _undefined(one_empty, height, width)
    costs = []
    for left, right in zip(*(labels.pixels() for labels in sets), strict=True):
        seen = highest(left, right)
        check_highest(sets, seen.max())
        box = extent(seen.reshape(height, width) != 0)
        costs.append(distances(left, right, width, box, classes, undefined))
    return torch.from_numpy(np.array(costs)).to(float64_device(annotations.device))


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
