"""Metrics as other packages compute them: a pair of masks at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

Mask = NDArray[np.bool_]  # (H, W)
Masks = NDArray[np.bool_]  # (N, H, W)
Pair = Callable[[Mask, Mask], float]


def energy(iou: Pair) -> Callable[[Masks, Masks], float]:
    """Return the squared energy distance of public PU-Net code: three loops over pairs."""

    def mean(left: Masks, right: Masks) -> float:
        return float(np.mean([1 - iou(a, b) for a in left for b in right]))

    return lambda samples, annotations: (
        2 * mean(samples, annotations) - mean(samples, samples) - mean(annotations, annotations)
    )


def matched(iou: Pair) -> Callable[[Masks, Masks], float]:
    """Return the Hungarian-matched IoU: every pair, then scipy's assignment."""

    def mean(samples: Masks, annotations: Masks) -> float:
        scores = np.array([[iou(a, b) for b in annotations] for a in samples])
        repeated = np.repeat(scores, len(samples) // len(annotations), axis=1)
        return float(repeated[linear_sum_assignment(-repeated)].mean())

    return mean


def best_pairs(iou: Pair) -> Callable[[Masks, Masks], float]:
    """Return the mean IoU of scipy's assignment, one sample for each annotation."""

    def mean(samples: Masks, annotations: Masks) -> float:
        scores = np.array([[iou(a, b) for b in annotations] for a in samples])
        return float(scores[linear_sum_assignment(-scores)].mean())

    return mean


def hausdorff(distance: Pair) -> Callable[[Masks, Masks], NDArray[np.float64]]:
    """Return the distance of every pair; where a mask is empty, that of probseg."""

    def one(left: Mask, right: Mask) -> float:
        if left.any() and right.any():
            return distance(left, right)
        return math.hypot(*left.shape) if left.any() or right.any() else 0.0

    return lambda samples, annotations: np.array(
        [[one(a, b) for b in annotations] for a in samples]
    )


def public_iou(left: Mask, right: Mask) -> float:
    """IoU of PHiSeg's and many PU-Nets' evaluation: label by label, emptiness by sums."""
    scores = []
    for label in range(1, 2):
        a, b = (left == label) * 1, (right == label) * 1
        if np.sum(a) == 0 or np.sum(b) == 0:
            scores.append(float(np.sum(a) == np.sum(b)))
        else:
            scores.append(np.logical_and(a, b).sum() / np.logical_or(a, b).sum())
    return float(np.mean(scores))


def numpy_iou(left: Mask, right: Mask) -> float:
    """IoU in two lines of NumPy."""
    union = np.count_nonzero(left | right)
    return np.count_nonzero(left & right) / union if union else 1.0


def monai_iou() -> Pair:
    """IoU of MONAI."""
    from monai.metrics.meaniou import compute_iou

    def iou(left: Mask, right: Mask) -> float:
        return float(compute_iou(_batch(left), _batch(right), ignore_empty=False).item())

    return iou


def torchmetrics_iou() -> Pair:
    """IoU of torchmetrics, which is 0 by default where both masks are empty."""
    from torchmetrics.functional.segmentation import mean_iou

    def iou(left: Mask, right: Mask) -> float:
        if not (left.any() or right.any()):
            return 1.0
        a, b = _batch(left).long(), _batch(right).long()
        return float(mean_iou(a, b, num_classes=1, input_format="one-hot").item())

    return iou


def monai_hausdorff() -> Pair:
    """Hausdorff distance of MONAI, between surfaces."""
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    compute = partial(compute_hausdorff_distance, include_background=True)
    return lambda left, right: float(compute(_batch(left), _batch(right)).item())


def surface_hausdorff() -> Pair:
    """Hausdorff distance of surface-distance, between surfaces."""
    from surface_distance import compute_robust_hausdorff, compute_surface_distances

    def distance(left: Mask, right: Mask) -> float:
        distances = compute_surface_distances(left, right, (1.0, 1.0))
        return float(compute_robust_hausdorff(distances, 100))

    return distance


def scipy_cdist(left: Mask, right: Mask) -> float:
    """Distances by scipy between all pixels of one mask and all of the other."""
    distances = cdist(np.argwhere(left), np.argwhere(right))
    return float(max(distances.min(0).max(), distances.min(1).max()))


def scipy_transforms(left: Mask, right: Mask) -> float:
    """Two distance transforms by scipy."""
    to_left, to_right = distance_transform_edt(~left), distance_transform_edt(~right)
    return float(max(to_left[right].max(), to_right[left].max()))


def _batch(mask: Mask) -> Any:
    return torch.from_numpy(mask)[None, None]


# Functions that return a score, since those of packages are imported when they are called.
OVERLAPS: dict[str, Callable[[], Pair]] = {
    "public PU-Net code": lambda: public_iou,
    "NumPy": lambda: numpy_iou,
    "MONAI": monai_iou,
    "torchmetrics": torchmetrics_iou,
}
DISTANCES: dict[str, Callable[[], Pair]] = {
    "scipy, cdist": lambda: scipy_cdist,
    "scipy, distance transforms": lambda: scipy_transforms,
    "surface-distance": surface_hausdorff,
    "MONAI": monai_hausdorff,
}
SURFACES = ("surface-distance", "MONAI")  # measure distances between surfaces
