"""Normalised cross-correlation of the uncertainty of samples and the error of annotators."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import SharedEvaluation, checked_annotations, shared
from probseg.metrics.kernels import surprisal
from probseg.metrics.label_maps import check_probabilities
from probseg.utils.devices import float64_chunks


def normalised_cross_correlation(
    probabilities: Tensor, annotations: Tensor, /, *, ignore_index: int | None = None
) -> Tensor:
    """Return the correlation of the samples' uncertainty map with each annotator's error map.

    ``E_y NCC(E_s CE(s̄, s), E_s CE(y, s))``, where s̄ is the mean sample, CE the cross-entropy of a
    pixel (probabilities clamped to 2⁻²³), and NCC the correlation of two maps over their pixels;
    zero where a map is constant.

    Args:
        probabilities: Samples (B, N, K, H, W) that sum to one over K.
        annotations: Label maps (B, A, H, W), integer classes.
        ignore_index: The value of annotations' pixels that nobody labelled, see docs/metrics.md.

    Returns:
        (B,) in [−1, 1], float64; higher is better.

    Raises:
        InputError: These are not probabilities and label maps, or they do not fit each other.

    References:
        Baumgartner et al., PHiSeg: Capturing uncertainty in medical image segmentation, 2019.
    """
    checked = check_probabilities(probabilities, annotations, ignore_index)
    return _correlations(probabilities, checked.maps, checked.ignored)


@dataclass(frozen=True)
class NCC:
    """The correlation of uncertainty and error, see :func:`normalised_cross_correlation`."""

    higher_is_better = True

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the correlation of each image, (B,)."""
        checked = SharedEvaluation.of(evaluation)
        drawn = shared(checked, checked_annotations)
        return _correlations(checked.probabilities, drawn.maps, drawn.ignored)


def _correlations(
    probabilities: Tensor, annotations: Tensor, ignored: Tensor | None = None
) -> Tensor:
    tensors = (annotations,) if ignored is None else (annotations, ignored)
    return torch.cat([_ncc(*chunk) for chunk in float64_chunks(probabilities, *tensors)])


def _ncc(probabilities: Tensor, annotations: Tensor, ignored: Tensor | None = None) -> Tensor:
    information = surprisal(probabilities).mean(1, dtype=torch.float64)  # (B, K, H, W)
    mean_sample = probabilities.mean(1, dtype=torch.float64)
    uncertainty = (mean_sample * information).sum(1, keepdim=True)
    error = information.gather(1, annotations.long())  # (B, A, H, W)
    if ignored is not None:
        labelled = ~ignored.flatten(2)
        error = _centred(error, labelled)
        return (error * _centred(uncertainty.expand_as(ignored), labelled)).sum(2).mean(1)
    return (_centred(error) @ _centred(uncertainty).mT).mean((1, 2))


def _centred(maps: Tensor, labelled: Tensor | None = None) -> Tensor:
    # (B, M, H, W) -> (B, M, HW) with mean 0 and norm 1; zeros if constant up to rounding
    pixels = maps.flatten(2)
    if labelled is None:
        centred = pixels - pixels.mean(2, keepdim=True)
    else:
        pixels = pixels * labelled
        mean = pixels.sum(2, keepdim=True) / labelled.sum(2, keepdim=True).clamp(min=1)
        centred = (pixels - mean) * labelled
    norm = torch.linalg.vector_norm(centred, dim=2, keepdim=True)
    rounding = 1e-12 * pixels.shape[2] ** 0.5 * pixels.abs().amax(2, keepdim=True)
    return centred / torch.where(norm > rounding, norm, torch.inf)
