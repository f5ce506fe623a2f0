"""The cost of every pair of a sample and an annotation: 1 - IoU, 1 - Dice and cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from probseg.errors import OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.checks import check_label_pair, check_probabilities

EPSILON = 2.0**-23  # of float32: softmax cannot tell smaller probabilities from zero beside one


class LabelKernel(Protocol):
    """A cost of every pair of label maps."""

    def __call__(self, predictions: Tensor, annotations: Tensor, /, *, classes: int) -> Tensor:
        """Return (B, N, A) for label maps (B, N, H, W) and (B, A, H, W)."""


def iou_cost(predictions: Tensor, annotations: Tensor, /, *, classes: int = 2) -> Tensor:
    """Return one minus the intersection over union (eq. 14) of every pair.

    ``1 − TP / (TP + FP + FN)``; zero where both are empty. With more than two classes it is the
    mean over the foreground classes, each with that rule.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.

    Returns:
        (B, N, A) in [0, 1], float64, from exact counts.

    Raises:
        InputError: The label maps are none, or do not fit each other.

    >>> one, both = torch.tensor([[[[0, 1]]]]), torch.tensor([[[[1, 1]]]])
    >>> iou_cost(one, both).item()
    0.5
    """
    return _foreground_cost(_iou, predictions, annotations, classes)


def dice_cost(predictions: Tensor, annotations: Tensor, /, *, classes: int = 2) -> Tensor:
    """Return one minus the Dice score (eq. 15) of every pair.

    ``1 − 2 TP / (2 TP + FP + FN)``; zero where both are empty. With more than two classes it is
    the mean over the foreground classes, each with that rule.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.

    Returns:
        (B, N, A) in [0, 1], float64, from exact counts.

    Raises:
        InputError: The label maps are none, or do not fit each other.
    """
    return _foreground_cost(_dice, predictions, annotations, classes)


def cross_entropy_cost(
    probabilities: Tensor, annotations: Tensor, /, *, epsilon: float = EPSILON
) -> Tensor:
    """Return the cross-entropy (eq. 19) of every pair, as the mean over pixels.

    ``−(1 / HW) Σ_ij log max(p_ij(y_ij), ε)``. The clamp keeps a certain and wrong pixel finite: at
    the default it costs 23 log 2 = 15.9 nats. Background counts as the other classes do.

    Args:
        probabilities: Samples (B, N, K, H, W) that sum to one over K.
        annotations: Label maps (B, A, H, W), integer classes.
        epsilon: Probabilities below it are taken for it.

    Returns:
        (B, N, A) in nats per pixel, float64.

    Raises:
        InputError: The tensors are not what they should be, or do not fit each other.
        OptionError: ``epsilon`` is not between zero and one.
    """
    if not 0 < epsilon < 1:
        raise OptionError(f"epsilon must lie between 0 and 1, as {EPSILON:.2g} does; got {epsilon}")
    check_probabilities(probabilities, annotations)
    total = torch.zeros((), dtype=torch.float64, device=annotations.device)
    for k, p in enumerate(probabilities.unbind(2)):
        # a class at a time saves memory; float64 products are beyond autocast's and TF32's reach
        information = surprise(p, epsilon).flatten(2).double()
        total = total + information @ (annotations == k).double().flatten(2).mT
    return total / annotations[0, 0].numel()


def surprise(probabilities: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Return ``−log max(p, ε)`` in nats, in float32 or, where p has it, float64."""
    exact = torch.promote_types(probabilities.dtype, torch.float32)
    return -probabilities.to(exact).clamp(epsilon, 1).log()


@dataclass(frozen=True)
class PairCost:
    """A label kernel between two of an evaluation's sets, which metrics may share."""

    kernel: LabelKernel
    between: tuple[Source, Source] = ("labels", "annotations")

    def __call__(self, evaluation: Evaluation) -> Tensor:
        """Return the cost of every pair of the two sets."""
        left, right = (getattr(evaluation, source) for source in self.between)
        return self.kernel(left, right, classes=evaluation.probabilities.shape[2])


@dataclass(frozen=True)
class CrossEntropyCost:
    """The cross-entropy between an evaluation's samples and annotations."""

    epsilon: float = EPSILON

    def __call__(self, evaluation: Evaluation) -> Tensor:
        """Return the cost of every pair of a sample and an annotation."""
        return cross_entropy_cost(
            evaluation.probabilities, evaluation.annotations, epsilon=self.epsilon
        )


Source = Literal["labels", "annotations"]
Score = Callable[[Tensor, Tensor], Tensor]  # intersection, sum of both sizes -> score


def _foreground_cost(score: Score, left: Tensor, right: Tensor, classes: int) -> Tensor:
    check_label_pair(left, right, classes)
    scores = [score(*_counts(left == k, right == k)) for k in range(1, classes)]
    return 1 - torch.stack(scores).mean(0)


def _counts(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    # Zeros and ones are exact in any float, their sums in float32 below 2²⁴; autocast would
    # round the sums to eight bits.
    exact = torch.float32 if left[0, 0].numel() < 2**24 else torch.float64
    left, right = left.flatten(2), right.flatten(2)
    with torch.autocast(left.device.type, enabled=False):
        intersection = left.to(exact) @ right.to(exact).mT
    sizes = left.sum(2)[:, :, None] + right.sum(2)[:, None, :]
    return intersection.double(), sizes.double()


def _iou(intersection: Tensor, sizes: Tensor) -> Tensor:
    union = sizes - intersection
    return torch.where(union > 0, intersection / union, 1.0)


def _dice(intersection: Tensor, sizes: Tensor) -> Tensor:
    return torch.where(sizes > 0, 2 * intersection / sizes, 1.0)
