"""The same samples scored by the conventions that papers and programs use.

A name such as GED or HM-IoU stands for several numbers. These are the usual ones, each a metric, to
see how far apart they lie for given samples: ``evaluate(model, data, metrics=CONVENTIONS)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probseg.interfaces import Evaluation, Metric
from probseg.metrics.evaluation import checked_annotations, shared
from probseg.metrics.ged import GED, EnergyDistance, MeanCost
from probseg.metrics.kernels import OverlapCost
from probseg.metrics.matching import BestPairs, HungarianIoU, NearestSample, Wasserstein
from probseg.metrics.mean_maps import mean_maps
from probseg.metrics.overlap import Counts, Score, dice, iou
from probseg.metrics.threshold_dice import dice_of_masks
from probseg.utils.devices import float64_device


def iou_of_empty_is_0(intersection: Counts, sizes: Counts) -> Counts:
    """Return the intersection over union, 0 where both are empty."""
    union = sizes - intersection
    ratio: Counts = intersection / np.maximum(union, 1)
    return ratio


@dataclass(frozen=True)
class PairwiseGED:
    """The squared energy distance of a kernel 1 − score.

    Args:
        score: Of two masks.
        diagonal: Whether a mask is compared with itself too. Without it the distance may be
            negative, and a single sample or annotation has no value.
    """

    score: Score = iou
    diagonal: bool = True
    higher_is_better = False

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the distance of each image, (B,)."""
        cross = shared(evaluation, OverlapCost(self.score)).mean((1, 2))
        samples, annotators = (
            self._mean(shared(evaluation, OverlapCost(self.score, (side, side))))
            for side in ("labels", "annotations")
        )
        squared = EnergyDistance(cross, samples, annotators).squared
        return squared.to(float64_device(evaluation.annotations.device))

    def _mean(self, costs: Tensor) -> Tensor:
        count = costs.shape[1]
        if self.diagonal:
            return costs.mean((1, 2))
        different = costs.sum((1, 2)) - costs.diagonal(dim1=1, dim2=2).sum(1)
        return different / (count * (count - 1)) if count > 1 else different * torch.nan


@dataclass(frozen=True)
class WhereAllMark:
    """A metric on the images on which every annotator marks something; elsewhere it is NaN."""

    metric: Metric
    higher_is_better: bool | None

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the metric's value of each image, (B,)."""
        values = self.metric(evaluation)
        marked = (shared(evaluation, checked_annotations).maps > 0).flatten(2).any(2).all(1)
        return values.masked_fill(~marked.to(values.device), torch.nan)


@dataclass(frozen=True)
class DiceOfMeans:
    """The Dice score of the samples' mean above .5 and the annotators' majority."""

    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean over the foreground classes of each image, (B,)."""
        means = shared(evaluation, mean_maps)
        inside = means.labelled[:, None]
        sides = (((side[:, 1:] > 0.5) & inside).flatten(2) for side in means[:2])
        return dice_of_masks(*sides).mean(1)


@dataclass(frozen=True)
class OneMinus:
    """One minus another metric."""

    metric: Metric
    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the value of each image, (B,)."""
        return 1 - self.metric(evaluation)


CONVENTIONS: Mapping[str, Metric] = {
    "GED": GED(),
    "GED expected of 16 samples": GED(samples=16),
    "GED expected of 32 samples": GED(samples=32),
    "GED expected of 100 samples": GED(samples=100),
    "GED, no mask with itself": PairwiseGED(diagonal=False),
    "GED, two empty masks: IoU 0": PairwiseGED(iou_of_empty_is_0),
    "GED, images that all marked": WhereAllMark(GED(), higher_is_better=False),
    "GED, d = 1 − Dice": PairwiseGED(dice),
    "HM-IoU, smaller set repeated": HungarianIoU(),
    "HM-IoU, rectangular": BestPairs(iou),
    "HM-IoU, two empty masks: IoU 0": OneMinus(Wasserstein(OverlapCost(iou_of_empty_is_0))),
    "HM-IoU, images that all marked": WhereAllMark(HungarianIoU(), higher_is_better=True),
    "Dice, all pairs": OneMinus(MeanCost(OverlapCost(dice))),
    "Dice, nearest sample (D_max)": NearestSample(dice),
    "Dice, best pairs (D_match)": BestPairs(dice),
    "Dice, mean above .5 and majority": DiceOfMeans(),
}
