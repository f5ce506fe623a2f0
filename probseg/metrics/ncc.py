"""Normalised cross-correlation of the uncertainty of samples and the error of annotators."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import SharedEvaluation
from probseg.metrics.kernels import surprisal
from probseg.utils.devices import float64_chunks
from probseg.utils.tensors import check_probabilities


def normalised_cross_correlation(probabilities: Tensor, annotations: Tensor, /) -> Tensor:
    """Return the correlation of the samples' uncertainty map with each annotator's error map.

    ``E_y NCC(E_s CE(s̄, s), E_s CE(y, s))``, where s̄ is the mean sample, CE the cross-entropy of a
    pixel (probabilities clamped to 2⁻²³), and NCC the correlation of two maps over their pixels;
    zero where a map is constant.

    Args:
        probabilities: Samples (B, N, K, H, W) that sum to one over K.
        annotations: Label maps (B, A, H, W), integer classes.

    Returns:
        (B,) in [−1, 1], float64; higher is better.

    Raises:
        InputError: These are not probabilities and label maps, or they do not fit each other.

    References:
        Baumgartner et al., PHiSeg: Capturing uncertainty in medical image segmentation, 2019.
    """
    check_probabilities(probabilities, annotations)
    return _correlations(probabilities, annotations)


@dataclass(frozen=True)
class NCC:
    """The correlation of uncertainty and error, see :func:`normalised_cross_correlation`."""

    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the correlation of each image, (B,)."""
        checked = SharedEvaluation.of(evaluation)
        return _correlations(checked.probabilities, checked.annotations)


def _correlations(probabilities: Tensor, annotations: Tensor) -> Tensor:
    return torch.cat([_ncc(*chunk) for chunk in float64_chunks(probabilities, annotations)])


def _ncc(probabilities: Tensor, annotations: Tensor) -> Tensor:
    information = surprisal(probabilities).mean(1, dtype=torch.float64)  # (B, K, H, W)
    mean_sample = probabilities.mean(1, dtype=torch.float64)
    uncertainty = (mean_sample * information).sum(1, keepdim=True)
    error = information.gather(1, annotations.long())  # (B, A, H, W)
    return (_centred(error) @ _centred(uncertainty).mT).mean((1, 2))


def _centred(maps: Tensor) -> Tensor:
    # (B, M, H, W) -> (B, M, HW) with mean 0 and norm 1; zeros if constant up to rounding
    pixels = maps.flatten(2)
    centred = pixels - pixels.mean(2, keepdim=True)
    norm = torch.linalg.vector_norm(centred, dim=2, keepdim=True)
    rounding = 1e-12 * pixels.shape[2] ** 0.5 * pixels.abs().amax(2, keepdim=True)
    return centred / torch.where(norm > rounding, norm, torch.inf)
