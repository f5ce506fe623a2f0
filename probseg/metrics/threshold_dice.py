"""The Dice score of the mean sample and the mean annotation at several levels of agreement."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.mean_maps import mean_maps

LEVELS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True)
class ThresholdDice:
    """The mean Dice score of thresholded means, at the thresholds .1, .2, … .9, in [0, 1].

    At each threshold t the pixels where the samples' mean probability is t or more are compared
    with those that a share t or more of the annotators marked. Two empty masks count as 1. It is
    the mean over the foreground classes. QUBIQ 2021 and CURVAS rank by such a score; CURVAS leaves
    out the threshold .9.

    References:
        Li et al., QUBIQ: Uncertainty Quantification for Biomedical Image Segmentation Challenge,
        2024.
    """

    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean score of each image, (B,)."""
        means = shared(evaluation, mean_maps)
        samples, annotators = (side[:, 1:].flatten(2) for side in means[:2])
        inside = means.labelled.flatten(1)[:, None]
        scores = [
            dice_of_masks((samples >= t) & inside, (annotators >= t) & inside) for t in LEVELS
        ]
        return torch.stack(scores).mean((0, 2))


def dice_of_masks(left: Tensor, right: Tensor) -> Tensor:
    """Return the Dice score of masks (B, K, P), float64 (B, K)."""
    sizes = left.sum(2) + right.sum(2)
    both = (left & right).sum(2)
    return (2 * both + (sizes == 0)).double() / sizes.clamp(min=1)
