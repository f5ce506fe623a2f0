"""The Hausdorff distance between all foreground pixels of every pair of label maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from probseg.errors import OptionError
from probseg.metrics.checks import check_label_pair

Mask = NDArray[np.bool_]  # (H, W)
Masks = NDArray[np.bool_]  # (N, H, W)
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

    One distance transform per distinct mask, cropped to the box around all of an image's masks,
    serves every pair that the mask is in. Runs on the CPU, whatever the device of the labels.

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
    check_label_pair(predictions, annotations, classes)
    undefined = _undefined(one_empty, *annotations.shape[2:])
    pairs = list(zip(predictions.cpu().numpy(), annotations.cpu().numpy(), strict=True))
    costs = [[_costs(n == k, a == k, undefined) for n, a in pairs] for k in range(1, classes)]
    return torch.from_numpy(np.mean(costs, axis=0)).to(annotations.device)


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


def _costs(left: Masks, right: Masks, undefined: float) -> Costs:
    left, of_left = _distinct(left)
    right, of_right = _distinct(right)
    left_any, right_any = _any_pixel(left), _any_pixel(right)
    costs = np.where(left_any[:, None] == right_any, 0.0, undefined)
    costs[np.ix_(left_any, right_any)] = _distances(left[left_any], right[right_any])
    return costs[np.ix_(of_left, of_right)]


def _distinct(masks: Masks) -> tuple[Masks, list[int]]:
    keys = [mask.tobytes() for mask in masks]  # np.unique over an axis takes longer than the rest
    distinct = dict(zip(keys, masks, strict=True))
    position = {key: index for index, key in enumerate(distinct)}
    return np.stack(list(distinct.values())), [position[key] for key in keys]


def _any_pixel(masks: Masks) -> NDArray[np.bool_]:
    any_pixel: NDArray[np.bool_] = np.any(masks, axis=(1, 2))
    return any_pixel


def _distances(left: Masks, right: Masks) -> Costs:
    if not (len(left) and len(right)):
        return np.zeros((len(left), len(right)))
    box = _box(left.max(0) | right.max(0))
    left, right = left[:, *box], right[:, *box]
    return np.maximum(_directed(left, right), _directed(right, left).T)


def _box(mask: Mask) -> tuple[slice, ...]:
    # The nearest foreground pixel of one mask lies in the box that holds the other's as well.
    return tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(mask))


def _directed(sources: Masks, targets: Masks) -> Costs:
    away = np.stack([distance_transform_edt(~target) for target in targets]).reshape(
        len(targets), -1
    )
    return np.stack([away[:, source].max(1) for source in sources.reshape(len(sources), -1)])
