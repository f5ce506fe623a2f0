"""How large a share of annotators agrees where the samples' mean has a probability, over images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from probseg.interfaces import Evaluation
from probseg.metrics.calibration import BINS
from probseg.metrics.evaluation import shared
from probseg.metrics.mean_maps import mean_maps
from probseg.options import check_integer

Sums = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """What a reliability diagram shows: the pixels of all images, in bins of equal width.

    A pixel counts once for each foreground class, with the samples' mean probability p of it and
    the share q of annotators who gave it. Pixels that nobody labelled are left out.

    References:
        Murphy and Winkler, Reliability of Subjective Probability Forecasts of Precipitation and
        Temperature, 1977.
    """

    pixels: Sums
    """How many each bin has, (bins,)."""
    predicted: Sums
    """The sum of p, (bins,)."""
    annotated: Sums
    """The sum of q, (bins,)."""

    @classmethod
    def empty(cls, bins: int = BINS) -> Reliability:
        """Return the reliability of no image.

        Raises:
            OptionError: The number of bins is no positive integer.
        """
        return cls(*(np.zeros(check_integer("bins", bins)) for _ in range(3)))

    @classmethod
    def of(cls, evaluation: Evaluation, bins: int = BINS) -> Reliability:
        """Return that of the images of an evaluation, together.

        Raises:
            OptionError: The number of bins is no positive integer.
        """
        check_integer("bins", bins)
        means = shared(evaluation, mean_maps)
        here = means.labelled[:, None].expand_as(means.samples)[:, 1:]
        p, q = (side[:, 1:][here] for side in (means.samples, means.annotators))
        values = torch.stack([torch.ones_like(p), p, q])
        bin_of = (p * bins).long().clamp(max=bins - 1)
        # in a fixed order, which torch.bincount does not keep on a GPU
        sums = torch.stack([values[:, bin_of == b].sum(1) for b in range(bins)], 1)
        return cls(*sums.cpu().numpy())

    def __add__(self, other: Reliability) -> Reliability:
        """Return that of the images of both."""
        return Reliability(
            self.pixels + other.pixels,
            self.predicted + other.predicted,
            self.annotated + other.annotated,
        )

    @property
    def curve(self) -> tuple[Sums, Sums]:
        """The mean p and the mean q of each bin that has a pixel."""
        full = self.pixels > 0
        pixels = self.pixels[full]
        return self.predicted[full] / pixels, self.annotated[full] / pixels

    @property
    def error(self) -> float:
        """The expected calibration error of all pixels together; NaN if there are none."""
        total = self.pixels.sum()
        gap = np.abs(self.predicted - self.annotated).sum()
        return float(gap / total) if total else float("nan")
