"""How many pixels any two label maps of an image share: all that IoU and Dice need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise, starmap
from typing import Self

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Labels
from probseg.metrics.foreground import gathered

Counts = NDArray[np.float64]
_BLOCK = 2048  # pixels of all masks that stay in the cache
Score = Callable[[Counts, Counts], Counts]  # intersections, sums of both sizes -> scores


@dataclass(frozen=True)
class Overlap:
    """The intersections of all label maps of several sets."""

    counts: Counts  # (B, K - 1, M, M) pixels of a foreground class; a map's size on the diagonal
    places: tuple[slice, ...]  # of each set among the M maps

    @classmethod
    def of(cls, *sets: Labels) -> Self:
        """Count the pixels of each image; matrix products serve all pairs of all sets.

        Raises:
            InputError: A set holds a class that there is not.
        """
        foreground = range(1, sets[0].classes)
        counts = [[_shared(maps == k) for k in foreground] for maps in gathered(*sets)]
        ends = accumulate((labels.maps.shape[1] for labels in sets), initial=0)
        return cls(np.array(counts), tuple(starmap(slice, pairwise(ends))))

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
    return _ratio(intersection, sizes - intersection)


def dice(intersection: Counts, sizes: Counts) -> Counts:
    """Return the Dice score, 1 where both are empty."""
    return _ratio(2 * intersection, sizes)


def _ratio(part: Counts, whole: Counts) -> Counts:
    ratio: Counts = (part + (whole == 0)) / np.maximum(whole, 1)
    return ratio


def _shared(masks: NDArray[np.bool_]) -> Counts:
    """Return how many pixels any two of the masks (M, P) share, (M, M)."""
    shared = np.zeros((len(masks), len(masks)))
    half = len(masks) // 2  # the product of all with all goes another, slower way through BLAS
    for start in range(0, masks.shape[1], _BLOCK):
        pixels = masks[:, start : start + _BLOCK].astype(np.float32)  # exact, as are its sums
        shared[:half] += pixels[:half] @ pixels.T
        shared[half:] += pixels[half:] @ pixels.T
    return shared
