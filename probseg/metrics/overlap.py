"""How many pixels any two label maps of an image share: all that IoU and Dice need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise, starmap
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Labels
from probseg.metrics.cropping import crops

Counts = NDArray[np.float64]
Score = Callable[[Counts, Counts], Counts]  # intersections, sums of both sizes -> scores


@dataclass(frozen=True)
class Overlap:
    """The intersections of all label maps of several sets."""

    counts: Counts  # (B, K - 1, M, M) pixels of a foreground class; a map's size on the diagonal
    places: tuple[slice, ...]  # of each set among the M maps

    @classmethod
    def of(cls, *sets: Labels, classes: int) -> Self:
        """Count the pixels of each image; one matrix product serves all pairs of all sets."""
        counts = [[_shared(maps == k) for k in range(1, classes)] for maps in crops(*sets)]
        ends = accumulate((labels.maps.shape[1] for labels in sets), initial=0)
        return cls(np.array(counts, np.float64), tuple(starmap(slice, pairwise(ends))))

    def cost(self, score: Score, left: int, right: int) -> Counts:
        """Return one minus the mean score over the foreground classes, (B, N, A).

        Args:
            score: Such as :func:`iou`.
            left: The number of the set of N maps.
            right: The number of the set of A maps.
        """
        rows, columns = self.places[left], self.places[right]
        own = self.counts.diagonal(axis1=2, axis2=3)
        sizes = own[:, :, rows, None] + own[:, :, None, columns]
        costs: Counts = 1 - score(self.counts[:, :, rows, columns], sizes).mean(1)
        return costs


def iou(intersection: Counts, sizes: Counts) -> Counts:
    """Return the intersection over union, 1 where both are empty."""
    union = sizes - intersection
    return np.divide(intersection, union, out=np.ones_like(union), where=union > 0)


def dice(intersection: Counts, sizes: Counts) -> Counts:
    """Return the Dice score, 1 where both are empty."""
    return np.divide(2 * intersection, sizes, out=np.ones_like(sizes), where=sizes > 0)


def _shared(masks: NDArray[np.bool_]) -> NDArray[Any]:
    # Zeros and ones are exact in any float, their sums in float32 below 2²⁴.
    exact = np.float32 if masks[0].size < 2**24 else np.float64
    pixels: NDArray[Any] = masks.reshape(len(masks), -1).astype(exact)
    shared: NDArray[Any] = pixels @ pixels.T
    return shared
