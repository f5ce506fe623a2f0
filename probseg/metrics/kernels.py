"""Costs of every pair of a sample and an annotation: 1 - IoU, 1 - Dice and cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from probseg.errors import OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import checked_annotations, shared
from probseg.metrics.label_maps import LabelMaps, check_label_pair, check_probabilities
from probseg.metrics.overlap import Overlap, Score, bounding_box, dice, iou
from probseg.utils.devices import float64_chunks, float64_device
from probseg.utils.tensors import ignoring

EPSILON = 2.0**-23  # of float32: softmax cannot tell smaller probabilities from zero beside one


class LabelKernel(Protocol):
    """A cost of every pair of label maps.

    If it is to score annotations with pixels that nobody labelled, it takes ``ignore_index=`` too.
    """

    def __call__(self, predictions: Tensor, annotations: Tensor, /, *, classes: int) -> Tensor:
        """Return (B, N, A) for label maps (B, N, H, W) and (B, A, H, W)."""


def iou_cost(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    ignore_index: int | None = None,
) -> Tensor:
    """Return 1 − IoU, eq. (14) of docs/method.md, of every pair.

    ``1 − TP / (TP + FP + FN)``; zero where both are empty. With more than two classes it is the
    mean over the foreground classes, each with that rule.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.

    Returns:
        (B, N, A) in [0, 1], float64, from exact counts.

    Raises:
        InputError: These are not label maps, or they do not fit each other.

    >>> one, both = torch.tensor([[[[0, 1]]]]), torch.tensor([[[[1, 1]]]])
    >>> iou_cost(one, both).item()
    0.5
    """
    return _foreground_cost(iou, check_label_pair(predictions, annotations, classes, ignore_index))


def dice_cost(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    ignore_index: int | None = None,
) -> Tensor:
    """Return 1 − Dice, eq. (15) of docs/method.md, of every pair.

    ``1 − 2 TP / (2 TP + FP + FN)``; its arguments, result, errors and rules for empty maps and for
    several classes are those of :func:`iou_cost`.
    """
    return _foreground_cost(dice, check_label_pair(predictions, annotations, classes, ignore_index))


def cross_entropy_cost(
    probabilities: Tensor,
    annotations: Tensor,
    /,
    *,
    epsilon: float = EPSILON,
    ignore_index: int | None = None,
) -> Tensor:
    """Return the cross-entropy, eq. (19) of docs/method.md, of every pair: the mean over pixels.

    ``−(1 / HW) Σ_ij log max(p_ij(y_ij), ε)``. The clamp keeps a certain and wrong pixel finite: at
    the default it costs 23 log 2 = 15.9 nats. Background counts like the other classes.

    Args:
        probabilities: Samples (B, N, K, H, W) that sum to one over K.
        annotations: Label maps (B, A, H, W), integer classes.
        epsilon: Smaller probabilities are raised to it.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.

    Returns:
        (B, N, A) in nats per pixel, float64.

    Raises:
        InputError: These are not probabilities and label maps, or they do not fit each other.
        OptionError: ``epsilon`` is not between zero and one.
    """
    _check_epsilon(epsilon)
    checked = check_probabilities(probabilities, annotations, ignore_index)
    return _cross_entropy(probabilities, checked.maps, epsilon, checked.ignored)


def surprisal(probabilities: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Return ``−log₂ max(p, ε)`` in bits, in float32, or in float64 if p is.

    In bits 0 and 1 have exact values, 23 and 0, in float32 too.
    """
    exact = torch.promote_types(probabilities.dtype, torch.float32)
    return probabilities.to(exact).clamp(epsilon, 1).log2_().neg_()


@dataclass(frozen=True)
class PairCost:
    """The costs of a label kernel between two of an evaluation's sets, for metrics to share."""

    kernel: LabelKernel
    between: tuple[Source, Source] = ("labels", "annotations")

    def __call__(self, evaluation: Evaluation) -> Tensor:
        """Return the cost of every pair of the two sets."""
        left, right = (getattr(evaluation, source) for source in self.between)
        options: dict[str, Any] = {"classes": evaluation.probabilities.shape[2]}
        if "annotations" in self.between:
            options |= ignoring(evaluation.ignore_index)
        return self.kernel(left, right, **options)


@dataclass(frozen=True)
class OverlapCost:
    """1 − IoU or 1 − Dice between two of an evaluation's sets, from counts that all metrics share.

    Args:
        score: :func:`~probseg.metrics.overlap.iou` or :func:`~probseg.metrics.overlap.dice`.
        between: The two sets.
    """

    score: Score
    between: tuple[Source, Source] = ("labels", "annotations")

    def __call__(self, evaluation: Evaluation) -> Tensor:
        """Return the cost of every pair of the two sets, on the CPU, where it was computed."""
        left, right = (_SETS.index(source) for source in self.between)
        return torch.from_numpy(shared(evaluation, overlap).cost(self.score, left, right))


def overlap(evaluation: Evaluation) -> Overlap:
    """Return the intersections of an evaluation's label maps and annotations."""
    classes = evaluation.probabilities.shape[2]
    return Overlap.of(
        *check_label_pair(
            evaluation.labels, evaluation.annotations, classes, evaluation.ignore_index
        )
    )


@dataclass(frozen=True)
class CrossEntropyCost:
    """The cross-entropy between an evaluation's samples and annotations."""

    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        _check_epsilon(self.epsilon)

    def __call__(self, evaluation: Evaluation) -> Tensor:
        """Return the cost of every pair of a sample and an annotation."""
        drawn = shared(evaluation, checked_annotations)
        return _cross_entropy(evaluation.probabilities, drawn.maps, self.epsilon, drawn.ignored)


Source = Literal["labels", "annotations"]
_SETS: tuple[Source, Source] = ("labels", "annotations")  # of Overlap, in its order


def _foreground_cost(score: Score, sets: tuple[LabelMaps, LabelMaps]) -> Tensor:
    cost = Overlap.of(*sets).cost(score, 0, 1)
    return torch.from_numpy(cost).to(float64_device(sets[1].device))


def _check_epsilon(epsilon: float) -> None:
    if not 0 < epsilon < 1:
        raise OptionError(f"epsilon must lie between 0 and 1, as {EPSILON:.2g} does, not {epsilon}")


def _cross_entropy(
    probabilities: Tensor, annotations: Tensor, epsilon: float, ignored: Tensor | None = None
) -> Tensor:
    if ignored is not None:
        parts = float64_chunks(probabilities, annotations, ~ignored)
        return torch.cat([_labelled_cross_entropy(*part, epsilon=epsilon) for part in parts])
    sums = [
        _summed_cross_entropy(p, y, epsilon) for p, y in float64_chunks(probabilities, annotations)
    ]
    return torch.cat(sums) * (math.log(2) / annotations[0, 0].numel())  # from bits to nats


def _labelled_cross_entropy(
    probabilities: Tensor, annotations: Tensor, labelled: Tensor, *, epsilon: float
) -> Tensor:
    """Return the mean surprisal over the pixels that an annotator labelled (B, N, A), in nats."""
    inside = labelled.flatten(2).double()
    total = torch.zeros((), dtype=torch.float64, device=inside.device)
    for k, p in enumerate(probabilities.unbind(2)):
        chosen = (annotations == k).flatten(2).double() * inside
        total = total + surprisal(p, epsilon).flatten(2).double() @ chosen.mT
    return total * math.log(2) / inside.sum(2).clamp(min=1)[:, None]


def _summed_cross_entropy(probabilities: Tensor, annotations: Tensor, epsilon: float) -> Tensor:
    """Return the surprisal of every pair (B, N, A) in bits, summed over pixels."""
    background, *classes = probabilities.unbind(2)
    total = surprisal(background, epsilon).sum((2, 3), dtype=torch.float64)[:, :, None]
    # Outside the box every annotation is background. Float64 is beyond autocast's and TF32's reach.
    inside = _foreground_box(annotations)
    base = surprisal(background[inside], epsilon).flatten(2).double()
    for k, p in enumerate(classes, start=1):
        excess = surprisal(p[inside], epsilon).flatten(2).double() - base
        total = total + excess @ (annotations[inside] == k).flatten(2).double().mT
    return total


def _foreground_box(annotations: Tensor) -> tuple[Any, ...]:
    """Return the index of a box around all foreground; off the CPU, of all, for looking waits."""
    if annotations.device.type != "cpu":
        return (...,)
    top, bottom, start, end = bounding_box((annotations.amax((0, 1)) > 0).numpy())
    return ..., slice(top, bottom), slice(start, end)
