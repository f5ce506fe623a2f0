"""Distances between the edges of two masks: 95 % Hausdorff distance and surface Dice score.

The edge of a mask is its pixels that have a neighbour above, below, left or right that is not of
it, or none because the image ends; the edges and distances of MONAI. Both are computed in pixels,
or in mm where it is known how large a pixel is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import Maps, label_maps, shared
from probseg.metrics.label_maps import check_highest, check_label_pair
from probseg.metrics.matching import wasserstein
from probseg.options import check_choice, check_number
from probseg.utils.devices import float64_device

Costs = NDArray[np.float64]
Mask = NDArray[np.bool_]
Spacing = tuple[float, float]
Unit = Literal["pixels", "mm"]
Measure = Callable[[Costs, Costs], float]  # distances of one edge to the other, and the reverse

_PERCENTILE = 95
_CROSS = ndimage.generate_binary_structure(2, 1)


def hd95_cost(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    spacing: Tensor | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Return the 95 % Hausdorff distance of the edges of every pair.

    The larger of the two 95th percentiles of the distances from each pixel of one edge to the
    other. Zero where both masks are empty, the image's diagonal where one is. With more than two
    classes it is the mean over the foreground classes.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.
        spacing: (B, 2) between rows and between columns; without it distances are in pixels.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.

    Returns:
        (B, N, A) float64.

    Raises:
        InputError: These are not label maps, or they do not fit each other.
    """
    maps = Maps.of(check_label_pair(predictions, annotations, classes, ignore_index))
    costs = _costs(maps, spacing, _percentile, one_empty=None)
    return costs.to(float64_device(annotations.device))


def surface_dice_cost(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    tolerance: float = 1.0,
    spacing: Tensor | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Return one minus the normalised surface Dice score (NSD) of every pair.

    The score is the share of both edges' pixels that lie within the tolerance of the other edge. It
    is 1 where both masks are empty and 0 where one is.

    Args:
        predictions: As of :func:`hd95_cost`.
        annotations: As of :func:`hd95_cost`.
        classes: As of :func:`hd95_cost`.
        tolerance: The largest distance that counts as none, in the unit of the spacing.
        spacing: As of :func:`hd95_cost`.
        ignore_index: As of :func:`hd95_cost`.

    Returns:
        (B, N, A) in [0, 1], float64.

    Raises:
        InputError: As of :func:`hd95_cost`.

    References:
        Nikolov et al., Clinically Applicable Segmentation of Head and Neck Anatomy for
        Radiotherapy, 2021.
    """
    maps = Maps.of(check_label_pair(predictions, annotations, classes, ignore_index))
    costs = _costs(maps, spacing, partial(_far_share, tolerance), one_empty=1.0)
    return costs.to(float64_device(annotations.device))


def _percentile(there: Costs, back: Costs) -> float:
    return float(max(np.percentile(one, _PERCENTILE) for one in (there, back)))


def _far_share(tolerance: float, there: Costs, back: Costs) -> float:
    near = (there <= tolerance).sum() + (back <= tolerance).sum()
    return float(1 - near / (len(there) + len(back)))


def _costs(
    maps: Maps,
    spacing: Tensor | None,
    measure: Measure,
    one_empty: float | None,  # None: the image's diagonal
) -> Tensor:
    """Return the measure of every pair (B, N, A), on the CPU."""
    left, right = maps.sets
    for one, pixels in zip(maps.sets, maps.pixels, strict=True):
        check_highest([one], int(pixels.max()))
    size = left.maps.shape[2:]
    steps = np.ones((len(left.maps), 2)) if spacing is None else spacing.cpu().double().numpy()
    hidden = None if right.ignored is None else right.ignored.cpu().numpy()
    samples, annotations = (one.reshape(*one.shape[:2], *size) for one in maps.pixels)
    costs = np.zeros((len(samples), samples.shape[1], annotations.shape[1]))
    for b in range(len(costs)):
        apart = float(np.hypot(*(np.array(size) * steps[b]))) if one_empty is None else one_empty
        unlabelled = None if hidden is None else hidden[b]
        for k in range(1, left.classes):
            masks = samples[b] == k, annotations[b] == k
            for found, drawn, which in _groups(*masks, unlabelled):
                costs[b][:, which] += _pairs(found, drawn, tuple(steps[b]), measure, apart)
    return torch.from_numpy(costs / (left.classes - 1))


def _groups(
    samples: Mask, drawn: Mask, hidden: Mask | None
) -> Iterator[tuple[Mask, Mask, NDArray[np.bool_]]]:
    """Yield samples and annotations of which the same pixels are labelled, and which these are."""
    if hidden is None:
        yield samples, drawn, np.ones(len(drawn), np.bool_)
        return
    for pixels in np.unique(hidden, axis=0):
        which = (hidden == pixels).all((1, 2))
        yield samples & ~pixels, drawn[which], which


def _pairs(
    samples: Mask, drawn: Mask, spacing: Spacing, measure: Measure, one_empty: float
) -> Costs:
    """Return the measure of every pair of masks (N, H, W) and (A, H, W), (N, A)."""
    edges = [
        [mask & ~ndimage.binary_erosion(mask, _CROSS) for mask in side] for side in (samples, drawn)
    ]
    far = [
        [ndimage.distance_transform_edt(~edge, spacing) if edge.any() else None for edge in side]
        for side in edges
    ]
    costs = np.zeros((len(samples), len(drawn)))
    for n, a in np.ndindex(costs.shape):
        one, other = far[0][n], far[1][a]
        if one is not None and other is not None:
            costs[n, a] = measure(other[edges[0][n]], one[edges[1][a]])
        elif one is not None or other is not None:
            costs[n, a] = one_empty
    return costs


@dataclass(frozen=True)
class SurfaceDistance:
    """Ŵ with a distance of edges: the mean over the best matching of samples and annotations.

    Args:
        cost: ``"hd95"`` or ``"nsd"``, one minus the surface Dice score.
        unit: ``"mm"`` takes the size of a pixel from ``evaluation.spacing``; an image of unknown
            size has no value (NaN).
        tolerance: Of the surface Dice score, in the unit.

    Raises:
        OptionError: An option is none of these, or the tolerance is not positive.
    """

    cost: Literal["hd95", "nsd"] = "hd95"
    unit: Unit = "pixels"
    tolerance: float = 1.0
    higher_is_better = False

    def __post_init__(self) -> None:
        check_choice("cost", self.cost, ("hd95", "nsd"))
        check_choice("unit", self.unit, ("pixels", "mm"))
        check_number("tolerance", self.tolerance)

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return Ŵ of each image, (B,)."""
        maps = shared(evaluation, label_maps)
        spacing, known = self._spacing(evaluation)
        if self.cost == "hd95":
            costs = _costs(maps, spacing, _percentile, one_empty=None)
        else:
            costs = _costs(maps, spacing, partial(_far_share, self.tolerance), one_empty=1.0)
        values = wasserstein(costs).masked_fill(~known, math.nan)
        return values.to(float64_device(evaluation.annotations.device))

    def _spacing(self, evaluation: Evaluation) -> tuple[Tensor | None, Tensor]:
        """Return the size of each image's pixels (B, 2), 1 where unknown; and where it is known."""
        if self.unit == "pixels":
            return None, torch.ones(len(evaluation.annotations), dtype=torch.bool)
        spacing = evaluation.spacing
        known = torch.zeros(0) if spacing is None else _positive(spacing).all(1).cpu()
        if spacing is None or not known.any():
            raise InputError(
                "the data do not say how large a pixel is, so nothing can be told in mm; give "
                "Evaluation its spacing, or files with headers that do (NIfTI, DICOM)"
            )
        spacing = spacing.cpu()
        return torch.where(known[:, None], spacing, 1.0), known


def _positive(spacing: Tensor) -> Tensor:
    return spacing.isfinite() & (spacing > 0)


def w_hd95(unit: Unit = "pixels") -> SurfaceDistance:
    """Return Ŵ with the 95 % Hausdorff distance.

    Args:
        unit: ``"pixels"`` or ``"mm"``.
    """
    return SurfaceDistance("hd95", unit)


def w_nsd(unit: Unit = "pixels", tolerance: float = 1.0) -> SurfaceDistance:
    """Return Ŵ with one minus the surface Dice score.

    Args:
        unit: ``"pixels"`` or ``"mm"``.
        tolerance: The largest distance that counts as none, in the unit.
    """
    return SurfaceDistance("nsd", unit, tolerance)


def w_hd95_mm() -> SurfaceDistance:
    """Return Ŵ with the 95 % Hausdorff distance in mm."""
    return SurfaceDistance("hd95", "mm")


def w_nsd_mm(tolerance: float = 1.0) -> SurfaceDistance:
    """Return Ŵ with one minus the surface Dice score, the tolerance in mm.

    Args:
        tolerance: The largest distance that counts as none.
    """
    return SurfaceDistance("nsd", "mm", tolerance)
