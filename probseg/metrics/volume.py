"""How large the samples and the annotations are, in pixels of a foreground class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.kernels import overlap
from probseg.metrics.overlap import Overlap
from probseg.utils.devices import float64_device

Sizes = NDArray[np.float64]


@dataclass(frozen=True)
class VolumeCRPS:
    """The continuous ranked probability score of the samples' sizes, in pixels, 0 and up.

    ``E |V − v| − E |V − V'| / 2`` with V and V' the sizes of two samples, a sample with itself
    included, and v that of an annotation; the mean over annotations and foreground classes. For one
    sample it is the mean absolute error of its size. Pixels that an annotator did not label are
    left out of the samples that are compared with that annotator.

    References:
        Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, 2007.
    """

    higher_is_better = False

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the score of each image, (B,)."""
        counts = shared(evaluation, overlap)
        scores = [_crps(samples, drawn) for samples, drawn in _sizes(counts)]
        mean = torch.from_numpy(np.stack(scores).mean(0))
        return mean.to(float64_device(evaluation.annotations.device))


def _sizes(counts: Overlap) -> Iterator[tuple[Sizes, Sizes]]:
    """Yield for each annotator the samples' sizes (B, K - 1, N), and the annotation's (B, K - 1).

    Only pixels that the annotator labelled count.
    """
    sizes = counts.counts.diagonal(axis1=2, axis2=3)
    samples = sizes[..., counts.slices[0]]
    for one in range(counts.slices[1].start, counts.slices[1].stop):
        unseen = 0 if counts.ignored is None else counts.ignored[:, :, counts.slices[0], one]
        yield samples - unseen, sizes[..., one]


def _crps(samples: Sizes, drawn: Sizes) -> Sizes:
    """Return the score of each image (B,), the mean over classes."""
    count = samples.shape[2]
    ordered = np.sort(samples, axis=2)
    rank = 2 * np.arange(1, count + 1) - count - 1  # Σ_mn |V_m − V_n| = 2 Σ_n rank_n V_n
    spread = 2 * (ordered * rank).sum(2) / count**2
    score: Sizes = (np.abs(samples - drawn[..., None]).mean(2) - spread / 2).mean(1)
    return score


@dataclass(frozen=True)
class EmptyShare:
    """The share of label maps without any foreground, in [0, 1].

    Args:
        annotators: Whether of the annotations, a property of the data, in place of the samples.
    """

    annotators: bool = False
    higher_is_better = None  # best at the annotators'

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the share of each image, (B,)."""
        counts = shared(evaluation, overlap)
        sizes = counts.counts.diagonal(axis1=2, axis2=3)[..., counts.slices[self.annotators]]
        share = torch.from_numpy((sizes.sum(1) == 0).mean(1))
        return share.to(float64_device(evaluation.annotations.device))


def empty_share() -> EmptyShare:
    """Return the share of samples that are empty."""
    return EmptyShare()


def annotator_empty_share() -> EmptyShare:
    """Return the share of annotations that are empty."""
    return EmptyShare(annotators=True)
