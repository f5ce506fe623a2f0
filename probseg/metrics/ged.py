"""The generalised energy distance between samples and annotations, and its three terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.kernels import OverlapCost
from probseg.metrics.label_maps import check_label_maps, check_label_pair
from probseg.metrics.overlap import Overlap, iou
from probseg.options import check_integer
from probseg.utils.devices import float64_device

CROSS = OverlapCost(iou)
SAMPLES = OverlapCost(iou, ("labels", "labels"))
ANNOTATORS = OverlapCost(iou, ("annotations", "annotations"))


class EnergyDistance(NamedTuple):
    """The three terms of the squared generalised energy distance, (B,) float64 each."""

    cross: Tensor  # E d(S, Y)
    samples: Tensor  # E d(S, S'), the sample diversity
    annotators: Tensor  # E d(Y, Y'), the annotator diversity

    @property
    def squared(self) -> Tensor:
        """``2 E d(S, Y) − E d(S, S') − E d(Y, Y')``, which the field reports as GED, (B,)."""
        return 2 * self.cross - self.samples - self.annotators


def generalised_energy_distance(
    predictions: Tensor,
    annotations: Tensor,
    /,
    *,
    classes: int = 2,
    ignore_index: int | None = None,
) -> EnergyDistance:
    """Return the squared generalised energy distance with d = 1 − IoU, term by term.

    ``D² = 2 E d(S, Y) − E d(S, S') − E d(Y, Y')``. The expectations run over *all* pairs of the
    empirical distributions, a map with itself included (the V-statistic, as in the public code of
    the probabilistic U-Net, PHiSeg and stochastic segmentation networks): it is never negative, and
    zero when both sets are equal, whereas leaving the diagonal out can fall below zero.

    Args:
        predictions: Label maps (B, N, H, W), integer classes; 0 is background.
        annotations: Label maps (B, A, H, W), integer classes.
        classes: How many classes there are, background included.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.

    Returns:
        The terms; their ``.squared`` is D² in [0, 2], lower is better.

    Raises:
        InputError: These are not label maps, or they do not fit each other.

    References:
        Kohl et al., A Probabilistic U-Net for Segmentation of Ambiguous Images, 2018.
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013.
    """
    sets = check_label_pair(predictions, annotations, classes, ignore_index)
    overlap, device = Overlap.of(*sets), float64_device(annotations.device)
    return EnergyDistance(
        cross=_mean_cost(overlap, 0, 1).to(device),
        samples=_mean_cost(overlap, 0, 0).to(device),
        annotators=_mean_cost(overlap, 1, 1).to(device),
    )


def sample_diversity(
    labels: Tensor, /, *, classes: int = 2, ignore_index: int | None = None
) -> Tensor:
    """Return the expected distance of two draws from a set of label maps.

    ``E d(S, S') = (1 / N²) Σ_mn (1 − IoU(S_m, S_n))``, the energy distance's own term, the diagonal
    included: N maps without overlap have 1 − 1/N, identical ones zero.

    Args:
        labels: Label maps (B, N, H, W), integer classes; 0 is background.
        classes: How many classes there are, background included.
        ignore_index: The value of pixels that nobody labelled, if these are annotations.

    Returns:
        (B,) in [0, 1), float64.

    Raises:
        InputError: These are not label maps.

    References:
        Monteiro et al., Stochastic Segmentation Networks, 2020, who report it as diversity.
    """
    checked = check_label_maps(labels, "labels", classes, ignore_index)
    return _mean_cost(Overlap.of(checked), 0, 0).to(float64_device(labels.device))


@dataclass(frozen=True)
class GED:
    """The squared energy distance of an evaluation, see :func:`generalised_energy_distance`.

    Args:
        samples: For how many independent samples to give its expectation, in place of the value of
            those that there are: ``E d(S, S')`` is then ``1 − 1 / samples`` times the mean over
            pairs of different samples. So one set of samples gives GED16, GED32 and GED100 without
            bias, whatever its size. It is NaN for one sample, unless for one.

    Raises:
        OptionError: ``samples`` is no positive integer.
    """

    samples: int | None = None
    higher_is_better = False

    def __post_init__(self) -> None:
        if self.samples is not None:
            check_integer("samples", self.samples)

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return D² of each image, (B,)."""
        terms = EnergyDistance(
            *(MeanCost(cost)(evaluation) for cost in (CROSS, SAMPLES, ANNOTATORS))
        )
        if self.samples is None:
            return terms.squared
        given = evaluation.probabilities.shape[1]
        if self.samples == 1:
            return terms._replace(samples=torch.zeros_like(terms.samples)).squared
        different = terms.samples * given / (given - 1) if given > 1 else terms.samples * torch.nan
        return terms._replace(samples=different * (1 - 1 / self.samples)).squared


@dataclass(frozen=True)
class MeanCost:
    """The mean cost of all pairs of maps from two of an evaluation's sets."""

    cost: OverlapCost
    higher_is_better: bool | None = False

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean of each image, (B,)."""
        mean = shared(evaluation, self.cost).mean((1, 2))
        return mean.to(float64_device(evaluation.annotations.device))


def ged16() -> GED:
    """Return the expected GED of 16 independent samples."""
    return GED(samples=16)


def ged32() -> GED:
    """Return the expected GED of 32 independent samples."""
    return GED(samples=32)


def ged100() -> GED:
    """Return the expected GED of 100 independent samples."""
    return GED(samples=100)


def ged_cross() -> MeanCost:
    """Return the energy distance's first expectation, E d(S, Y)."""
    return MeanCost(CROSS)


def diversity() -> MeanCost:
    """Return the sample diversity, see :func:`sample_diversity`; zero means collapse."""
    return MeanCost(SAMPLES, higher_is_better=None)  # best at the annotators'


def annotator_diversity() -> AnnotatorDiversity:
    """Return the annotations' diversity, see :class:`AnnotatorDiversity`."""
    return AnnotatorDiversity()


@dataclass(frozen=True)
class AnnotatorDiversity:
    """The annotations' diversity, a property of the data, to compare the samples' with.

    It is NaN for a single annotation, which says nothing of how annotators differ.
    """

    higher_is_better = None

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean over all pairs of annotations of each image, (B,)."""
        mean = MeanCost(ANNOTATORS)(evaluation)
        return mean if evaluation.annotations.shape[1] > 1 else torch.full_like(mean, torch.nan)


def _mean_cost(overlap: Overlap, left: int, right: int) -> Tensor:
    return torch.from_numpy(overlap.cost(iou, left, right).mean((1, 2)))
