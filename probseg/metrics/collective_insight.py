"""The collective insight score: whether samples find what any annotator marked, and vary alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import SharedEvaluation, checked_annotations, shared
from probseg.metrics.label_maps import LabelMaps
from probseg.metrics.overlap import Overlap, dice
from probseg.utils.devices import float64_device

Values = NDArray[np.float64]


@dataclass(frozen=True)
class CollectiveInsight:
    """The CI score, in [0, 1]: ``3 S D A / (S + D + A)``, the mean over foreground classes.

    S, the combined sensitivity, is the share of the pixels that any annotator marked which any
    sample marks; 1 if none is marked. D is the Dice score of the nearest sample, the mean over
    annotations. A, the diversity agreement, is ``1 − (|ΔV_max| + |ΔV_min|) / 2``, with V_max and
    V_min the largest and the smallest variance, over pixels, of the difference of two samples or of
    two annotations, and Δ between the two; V is 0 for a single map. It is an F1-like mean of three
    only in name: three perfect terms give 1, three halves give .25. S does not punish samples for
    what they mark beyond the annotations. Pixels that any annotator did not label are left out of
    the whole image; one without a pixel that all labelled has no value (NaN).

    References:
        Rahman et al., Ambiguous Medical Image Segmentation using Diffusion Models, 2023.
    """

    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the score of each image, (B,)."""
        checked = SharedEvaluation.of(evaluation)
        samples, drawn, pixels = _labelled_by_all(checked)
        counts = Overlap.of(samples, drawn)
        found = _combined_sensitivity(samples, drawn)
        near = (1 - _class_costs(counts)).max(2).mean(2)
        spread = [_extreme_variances(counts.counts[..., one, one], pixels) for one in counts.slices]
        agreement = 1 - np.abs(spread[0] - spread[1]).mean(0)
        terms = np.stack([found, near, agreement])
        total = terms.sum(0)
        score = np.divide(3 * terms.prod(0), total, out=np.zeros_like(total), where=total > 0)
        means = np.where(pixels > 0, score.mean(1), np.nan)
        return torch.from_numpy(means).to(float64_device(evaluation.annotations.device))


def _labelled_by_all(evaluation: SharedEvaluation) -> tuple[LabelMaps, LabelMaps, Values]:
    """Return samples and annotations without the pixels that an annotator did not label.

    And how many pixels are left of each image, (B,).
    """
    drawn, classes = shared(evaluation, checked_annotations), evaluation.probabilities.shape[2]
    samples = LabelMaps("samples", evaluation.labels.contiguous(), classes)
    if drawn.ignored is None:
        height, width = drawn.maps.shape[2:]
        return samples, drawn, np.full(len(drawn.maps), float(height * width))
    left_out = drawn.ignored.any(1, keepdim=True)
    inside = (~left_out).flatten(1).sum(1).cpu().numpy().astype(np.float64)
    kept = (one.maps.masked_fill(left_out, 0) for one in (samples, drawn))
    return (
        LabelMaps("samples", next(kept), classes),
        LabelMaps("drawn", next(kept), classes),
        inside,
    )


def _combined_sensitivity(samples: LabelMaps, drawn: LabelMaps) -> Values:
    """Return the share of the union of annotations that the union of samples holds, (B, K - 1)."""
    shares = []
    for k in range(1, samples.classes):
        found, marked = ((one.maps == k).any(1).flatten(1) for one in (samples, drawn))
        sizes, both = marked.sum(1).cpu().numpy(), (found & marked).sum(1).cpu().numpy()
        shares.append((both + (sizes == 0)) / np.maximum(sizes, 1))
    return np.stack(shares, axis=1)


def _class_costs(counts: Overlap) -> Values:
    """Return 1 − Dice of every sample and annotation in each foreground class (B, K - 1, N, A)."""
    size = counts.counts.diagonal(axis1=2, axis2=3)
    costs: Values = 1 - dice(counts.counts, size[..., None] + size[..., None, :])
    return costs[..., counts.slices[0], counts.slices[1]]


def _extreme_variances(counts: Values, pixels: Values) -> Values:
    """Return the largest and smallest variance of the difference of two maps (2, B, K - 1)."""
    first, second = np.triu_indices(counts.shape[2], 1)
    if not len(first):
        return np.zeros((2, *counts.shape[:2]))
    size, pixels = counts.diagonal(axis1=2, axis2=3), np.maximum(pixels, 1)[:, None, None]
    a, b, both = size[..., first], size[..., second], counts[..., first, second]
    variances = (a + b - 2 * both) / pixels - ((a - b) / pixels) ** 2
    return np.stack([variances.max(2), variances.min(2)])
