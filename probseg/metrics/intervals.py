"""Bootstrap intervals of a mean over images, where the images of a group belong together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

RESAMPLES = 2000


def mean_interval(
    values: Values, groups: Sequence[Any] | NDArray[Any], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of the mean over images, from resamples of whole groups.

    Args:
        values: (N,), finite.
        groups: What belongs together (N,), such as the patient of each image.
        confidence: Probability that the interval is to cover the mean.

    Returns:
        Its ends; NaN for a single group, from which nothing follows.

    References:
        Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.

    >>> mean_interval(np.array([1.0, 3.0]), ["p1", "p2"])
    (1.0, 3.0)
    """
    member = members(groups)
    sums, counts = np.bincount(member, values), np.bincount(member)
    if len(counts) < 2:
        return float("nan"), float("nan")
    weights = draws(len(counts))
    tail = round((1 - confidence) / 2, 12)
    low, high = np.quantile(weights @ sums / (weights @ counts), (tail, 1 - tail))
    return float(low), float(high)


def members(groups: Sequence[Any] | NDArray[Any]) -> NDArray[np.intp]:
    """Return the index of each image's group (N,)."""
    numbers: NDArray[np.intp] = np.unique(groups, return_inverse=True)[1]
    return numbers


@lru_cache(maxsize=8)
def draws(groups: int) -> Values:
    """Return how often each resample draws each group (R, G), the same at every call."""
    share = np.full(groups, 1 / groups)
    return np.random.default_rng(0).multinomial(groups, share, size=RESAMPLES).astype(float)
