"""Metrics that match the samples of an image with its annotations one to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import ot
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.hausdorff import Hausdorff, OneEmpty
from probseg.metrics.kernels import EPSILON, CrossEntropyCost, OverlapCost, iou_cost
from probseg.metrics.overlap import Score, dice, iou
from probseg.options import check_choice
from probseg.utils.devices import float64_device, to_float64

Costs = NDArray[np.float64]
Matching = Literal["repeated", "rectangular"]  # of sets of different sizes


def wasserstein(cost: Tensor) -> Tensor:
    """Return the empirical Wasserstein metric Ŵ, eq. (13) of docs/method.md, of each image.

    ``Ŵ_k = min_γ Σ_na γ_na k_na`` over couplings γ of the two uniform sets, that is, the mean cost
    of the matched pairs. Where one set's size divides the other's, the smaller set is repeated and
    γ is an optimal assignment; otherwise γ is the exact optimal transport between
    the two. Both give the same number where both apply.

    Args:
        cost: The kernel k of every pair of a sample and an annotation, (B, N, A); any N and A.

    Returns:
        (B,) in the kernel's unit, float64, without a gradient.

    Raises:
        InputError: The cost has another shape, or a value that is not finite.

    >>> wasserstein(torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])).item()
    0.25
    """
    costs = to_float64(cost.detach()).cpu().numpy()
    _check_costs(costs)
    return torch.from_numpy(_matched_means(costs)).to(float64_device(cost.device))


def hungarian_iou(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    ignore_index: int | None = None,
    matching: Matching = "repeated",
) -> Tensor:
    """Return the Hungarian-matched IoU: the mean IoU of the best one-to-one matching.

    There are two readings of it where the sets differ in size. ``"repeated"`` spreads the smaller
    set evenly over the larger one, so that every mask counts: ``max_γ Σ_na γ_na IoU_na =
    1 − Ŵ(1 − IoU)``. ``"rectangular"`` assigns to each mask of the smaller set a mask of its own,
    and leaves the rest of the larger set out: it grows with the number of samples, however bad the
    rest are. Two empty masks count as 1.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.
        matching: The reading.

    Returns:
        (B,) in [0, 1], float64; higher is better.

    Raises:
        InputError: These are not label maps, or they do not fit each other.
        OptionError: There is no such reading.

    References:
        Kohl et al., A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities, 2019.
    """
    check_choice("matching", matching, get_args(Matching))
    cost = iou_cost(predictions, annotations, classes=classes, ignore_index=ignore_index)
    return 1 - (wasserstein(cost) if matching == "repeated" else _rectangular(cost))


@dataclass(frozen=True)
class Wasserstein:
    """The empirical Wasserstein metric of an evaluation with any pairwise cost.

    Args:
        cost: Returns for an evaluation the cost of every pair of a sample and an annotation,
            (B, N, A).
    """

    cost: Callable[[Evaluation], Tensor]
    higher_is_better = False

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return Ŵ of each image, (B,)."""
        return _wasserstein(evaluation, self.cost)


@dataclass(frozen=True)
class HungarianIoU:
    """The Hungarian-matched IoU of an evaluation, see :func:`hungarian_iou`.

    Args:
        matching: The reading where the numbers of samples and annotators differ.
    """

    matching: Matching = "repeated"
    higher_is_better = True

    def __post_init__(self) -> None:
        check_choice("matching", self.matching, get_args(Matching))

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean matched IoU of each image, (B,)."""
        if self.matching == "rectangular":
            return BestPairs(iou)(evaluation)
        return 1 - _wasserstein(evaluation, OverlapCost(iou))


@dataclass(frozen=True)
class BestPairs:
    """The mean score of the best pairs: each mask of the smaller set has one of its own.

    The rest of the larger set is left out, so it grows with the number of samples.

    Args:
        score: :func:`~probseg.metrics.overlap.iou` or :func:`~probseg.metrics.overlap.dice`.
    """

    score: Score
    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean score of each image, (B,)."""
        matched = _rectangular(shared(evaluation, OverlapCost(self.score)))
        return 1 - matched.to(float64_device(evaluation.annotations.device))


@dataclass(frozen=True)
class NearestSample:
    """The score of each annotation's nearest sample, the mean over annotations.

    One sample may serve several annotations. It grows with the number of samples.

    Args:
        score: :func:`~probseg.metrics.overlap.iou` or :func:`~probseg.metrics.overlap.dice`.
    """

    score: Score
    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean score of each image, (B,)."""
        nearest = 1 - shared(evaluation, OverlapCost(self.score)).amin(1).mean(1)
        return nearest.to(float64_device(evaluation.annotations.device))


def rectangular_iou() -> BestPairs:
    """Return the IoU of the best pairs, which some programs call Hungarian-matched IoU."""
    return BestPairs(iou)


def dice_match() -> BestPairs:
    """Return the Dice score of the best pairs, D_match of Wu et al. (D-Persona), 2024."""
    return BestPairs(dice)


def dice_max() -> NearestSample:
    """Return the Dice score of the nearest samples: D_max of Rahman et al., 2023, and of D-Persona.

    Others call it maximum Dice matching, MDM.
    """
    return NearestSample(dice)


def w_iou() -> Wasserstein:
    """Return Ŵ with the kernel 1 − IoU."""
    return Wasserstein(OverlapCost(iou))


def w_dice() -> Wasserstein:
    """Return Ŵ with the kernel 1 − Dice."""
    return Wasserstein(OverlapCost(dice))


def w_hausdorff(one_empty: OneEmpty = "diagonal") -> Wasserstein:
    """Return Ŵ with the Hausdorff distance in pixels, see :mod:`probseg.metrics.hausdorff`.

    Args:
        one_empty: The distance where one mask is empty and the other is not: the image's
            ``"diagonal"``, a number of pixels, or ``"nan"``.
    """
    return Wasserstein(Hausdorff(one_empty))


def w_cross_entropy(epsilon: float = EPSILON) -> Wasserstein:
    """Return Ŵ with the cross-entropy in nats per pixel.

    Args:
        epsilon: Smaller probabilities are raised to it.
    """
    return Wasserstein(CrossEntropyCost(epsilon))


def _wasserstein(evaluation: Evaluation, cost: Callable[[Evaluation], Tensor]) -> Tensor:
    values = wasserstein(shared(evaluation, cost))
    return values.to(float64_device(evaluation.annotations.device))


def _check_costs(costs: Costs) -> None:
    if costs.ndim != 3 or costs.size == 0:
        raise InputError(
            "a pairwise cost must be (images, samples, annotations), each one or more, not "
            f"{costs.shape}"
        )
    if not np.isfinite(costs).all():
        image, sample, annotation = np.argwhere(~np.isfinite(costs))[0]
        raise InputError(
            f"the cost of sample {sample} and annotation {annotation} of image {image} must be "
            "finite for a matching; if it is a Hausdorff distance to an empty mask, "
            'set its value with one_empty="diagonal" or a number'
        )


def _rectangular(cost: Tensor) -> Tensor:
    """Return the mean cost of the best pairs (B,), each mask of the smaller set in one of them."""
    costs = to_float64(cost).cpu().numpy()
    means = [float(one[linear_sum_assignment(one)].mean()) for one in costs]
    return torch.tensor(means, dtype=torch.float64, device=float64_device(cost.device))


def _matched_means(costs: Costs) -> Costs:
    few, many = sorted(costs.shape[1:])
    if many % few:
        return np.array([_transport(cost) for cost in costs])
    repeated = np.repeat(costs, many // few, axis=1 + int(np.argmin(costs.shape[1:])))
    matched: Costs = np.array([cost[linear_sum_assignment(cost)] for cost in repeated])
    means: Costs = matched.mean(1)
    return means


def _transport(cost: Costs) -> float:
    samples, annotations = cost.shape
    lowest = cost.min()  # POT calls a problem with negative costs only infeasible
    return float(lowest + ot.emd2(ot.unif(samples), ot.unif(annotations), cost - lowest))
