"""Whether the mean of the samples is as high as the share of annotators who agree.

The samples' mean gives each pixel a probability of each class, p. It is compared with q, the share
of the annotators who gave the pixel that class. All are means over the foreground classes, and
pixels that nobody labelled are left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.mean_maps import mean_maps
from probseg.options import check_integer

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
class _Binned(ABC):
    """An error that compares the mean of p with that of q in bins of pixels."""

    bins: int = BINS
    higher_is_better = False

    def __post_init__(self) -> None:
        check_integer("bins", self.bins)

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the error of each image, (B,), the mean over the foreground classes."""
        means = shared(evaluation, mean_maps)
        whole = bool(means.labelled.all())
        errors = []
        for p, q, labelled in zip(*means, strict=True):
            sides = (side[1:].flatten(1) if whole else side[1:, labelled] for side in (p, q))
            errors.append(torch.stack(list(map(self._error, *sides))).mean())
        return torch.stack(errors)

    @abstractmethod
    def _error(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the error of one class from p and q of the labelled pixels, (P,)."""


@dataclass(frozen=True)
class ECE(_Binned):
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

    def _error(self, p: Tensor, q: Tensor) -> Tensor:
        which = (p * self.bins).long().clamp(max=self.bins - 1)
        sums = [((p - q) * (which == b)).sum() for b in range(self.bins)]
        return torch.stack(sums).abs().sum() / len(p)


@dataclass(frozen=True)
class ACE(_Binned):
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

    def _error(self, p: Tensor, q: Tensor) -> Tensor:
        ordered, order = p.sort()
        excess = functional.pad((p - q)[order].cumsum(0), (1, 0))  # of p over q, in the lowest p
        ends = torch.linspace(0, len(p), self.bins + 1, dtype=p.dtype, device=p.device)
        value = ordered[ends.long().clamp(max=len(p) - 1)]  # of the pixel at an end
        first, last = (torch.searchsorted(ordered, value, right=right) for right in (False, True))
        share = (ends - first) / (last - first)  # of the pixels of equal p, below the end
        at_ends = torch.lerp(excess[first], excess[last], share)
        return at_ends.diff().abs().sum() / len(p)
