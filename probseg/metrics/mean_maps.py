"""The mean of an image's samples, and that of its annotations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import SharedEvaluation, checked_annotations, shared
from probseg.metrics.label_maps import LabelMaps
from probseg.utils.devices import float64_chunks, to_float64


class MeanMaps(NamedTuple):
    """What samples and annotators say of each pixel on average, float64."""

    samples: Tensor  # (B, K, H, W), the mean probability of each class
    annotators: Tensor  # (B, K, H, W), the share of the annotators who labelled the pixel
    labelled: Tensor  # (B, H, W) bool, where somebody did


def mean_maps(evaluation: Evaluation) -> MeanMaps:
    """Return the mean of an evaluation's samples, and that of its annotations."""
    checked = SharedEvaluation.of(evaluation)
    parts = float64_chunks(checked.probabilities)
    # a quotient, as of the annotators' shares: means on a GPU multiply by a rounded 1 / N
    sums = torch.cat([part.sum(1, dtype=torch.float64) for (part,) in parts])
    mean = sums / checked.probabilities.shape[1]
    share, labelled = annotator_shares(shared(checked, checked_annotations))
    return MeanMaps(mean, share.to(mean.device), labelled.to(mean.device))


def annotator_shares(drawn: LabelMaps) -> tuple[Tensor, Tensor]:
    """Return of each pixel the share of its annotators in each class, and whether it has any.

    Shares are correctly rounded quotients of two counts, so those of two of ten and of one of five
    annotators are equal. They are zero where nobody labelled the pixel.

    Returns:
        (B, K, H, W) float64, and (B, H, W) bool.
    """
    if drawn.ignored is None:
        labelled = torch.ones_like(drawn.maps, dtype=torch.bool)
    else:
        labelled = ~drawn.ignored
    votes = [((drawn.maps == k) & labelled).sum(1) for k in range(drawn.classes)]
    voters = labelled.sum(1)
    shares = to_float64(torch.stack(votes, dim=1)) / to_float64(voters.clamp(min=1))[:, None]
    return shares, voters > 0
