"""How many pixels any two label maps of an image share: all that IoU and Dice need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, starmap
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from probseg.metrics.checks import Labels, check_highest
from probseg.metrics.intersections import intersections
from probseg.metrics.products import products

Counts = NDArray[np.float64]
Score = Callable[[Counts, Counts], Counts]  # intersections, sums of both sizes -> scores


@dataclass(frozen=True)
class Overlap:
    """The intersections of all label maps of several sets."""

    counts: Counts  # (B, K - 1, M, M) pixels of a foreground class; a map's size on the diagonal
    places: tuple[slice, ...]  # of each set among the M maps
    costs: dict[Score, Counts] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, *sets: Labels) -> Self:
        """Count the pixels of each image that the maps of one set or two share.

        Raises:
            InputError: A set holds a class that there is not.
        """
        counts = (_on_cpu if sets[0].device.type == "cpu" else _on_device)(sets)
        ends = accumulate((labels.maps.shape[1] for labels in sets), initial=0)
        return cls(counts, tuple(starmap(slice, pairwise(ends))))

    def cost(self, score: Score, left: int, right: int) -> Counts:
        """Return one minus the mean score over the foreground classes, (B, N, A).

        Args:
            score: Such as :func:`iou`.
            left: The number of the set of N maps.
            right: The number of the set of A maps.
        """
        if score not in self.costs:
            sizes = self.counts.diagonal(axis1=2, axis2=3)
            scores = score(self.counts, sizes[..., None] + sizes[..., None, :])
            self.costs[score] = 1 - scores.mean(1)
        # a copy, as whoever is given it may reshape or change it
        return self.costs[score][:, self.places[left], self.places[right]].copy()


def iou(intersection: Counts, sizes: Counts) -> Counts:
    """Return the intersection over union, 1 where both are empty."""
    return _ratio(intersection, sizes - intersection)


def dice(intersection: Counts, sizes: Counts) -> Counts:
    """Return the Dice score, 1 where both are empty."""
    return _ratio(2 * intersection, sizes)


def _on_cpu(sets: Sequence[Labels]) -> Counts:
    left, *others = (labels.pixels() for labels in sets)
    (right,) = others or (left[:, :0],)
    counts, highest = intersections(left, right, sets[0].classes)
    check_highest(sets, highest)
    return counts


def _on_device(sets: Sequence[Labels]) -> Counts:
    maps = torch.cat([labels.maps for labels in sets], dim=1).flatten(2)
    counts: Counts = products(maps, sets[0].classes).cpu().numpy().astype(np.float64)
    return counts


def _ratio(part: Counts, whole: Counts) -> Counts:
    ratio: Counts = (part + (whole == 0)) / np.maximum(whole, 1)
    return ratio
