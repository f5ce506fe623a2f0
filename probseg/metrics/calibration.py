"""Whether the mean of the samples is as high as the share of annotators who agree.

The samples' mean gives each pixel a probability of each class, p. It is compared with q, the share
of the annotators who gave the pixel that class. All are means over the foreground classes, and
pixels that nobody labelled are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.mean_maps import MeanMaps, mean_maps
from probseg.options import check_integer

Values = NDArray[np.float64]  # (P,), one of each labelled pixel
Error = Callable[[Values, Values], float]  # of p and q

BINS = 15  # Guo et al., 2017


@dataclass(frozen=True)
class Brier:
    """The mean of (p − q)² over pixels and foreground classes, in [0, 1].

    References:
        Brier, Verification of forecasts expressed in terms of probability, 1950.
    """

    higher_is_better = False

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the score of each image, (B,)."""
        means = shared(evaluation, mean_maps)
        squares = (means.samples - means.annotators)[:, 1:].square().mean(1)
        inside = means.labelled.to(squares.dtype)
        return (squares * inside).sum((1, 2)) / inside.sum((1, 2))


@dataclass(frozen=True)
class ECE:
    """The expected calibration error, in [0, 1].

    Pixels are sorted into bins of equal width by p. The error is the mean of |mean p − mean q| over
    bins, each with the weight of its pixels.

    Args:
        bins: How many there are; p = 1 lies in the last.

    Raises:
        OptionError: This is no positive integer.

    References:
        Guo et al., On Calibration of Modern Neural Networks, 2017.
    """

    bins: int = BINS
    higher_is_better = False

    def __post_init__(self) -> None:
        check_integer("bins", self.bins)

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the error of each image, (B,)."""
        return _mean_of_classes(shared(evaluation, mean_maps), self._error)

    def _error(self, p: Values, q: Values) -> float:
        which = np.minimum((p * self.bins).astype(np.intp), self.bins - 1)
        return float(np.abs(np.bincount(which, p - q)).sum()) / len(p)


@dataclass(frozen=True)
class ACE:
    """The adaptive calibration error, in [0, 1]: the ECE with bins of equally many pixels.

    Most pixels of a segmentation are surely background, and fill the first bin of the ECE. Pixels
    of equal p are shared out evenly where an end of a bin falls among them, so their order does not
    matter.

    Args:
        bins: How many there are.

    Raises:
        OptionError: This is no positive integer.

    References:
        Nixon et al., Measuring Calibration in Deep Learning, 2019.
    """

    bins: int = BINS
    higher_is_better = False

    def __post_init__(self) -> None:
        check_integer("bins", self.bins)

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the error of each image, (B,)."""
        return _mean_of_classes(shared(evaluation, mean_maps), self._error)

    def _error(self, p: Values, q: Values) -> float:
        _, which, counts = np.unique(p, return_inverse=True, return_counts=True)
        pixels = np.concatenate([[0], counts.cumsum()])  # of the lowest values of p
        excess = np.concatenate([[0.0], np.bincount(which, p - q).cumsum()])  # of p over q, in them
        ends = np.linspace(0, len(p), self.bins + 1)
        return float(np.abs(np.diff(np.interp(ends, pixels, excess))).sum()) / len(p)


def _mean_of_classes(means: MeanMaps, error: Error) -> Tensor:
    """Return the mean of an error over the foreground classes of each image, (B,)."""
    p, q = (side[:, 1:].cpu().numpy() for side in means[:2])
    inside = means.labelled.cpu().numpy()
    errors = [
        np.mean([error(p[b, k][inside[b]], q[b, k][inside[b]]) for k in range(p.shape[1])])
        for b in range(len(p))
    ]
    return torch.tensor(errors, dtype=torch.float64, device=means.samples.device)
