"""The cluster bootstrap: whole groups, such as patients, are drawn with replacement."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.reports.analysis.experiments import Groups, Values

RESAMPLES = 2000
INTERVAL = (0.025, 0.975)


def mean_interval(values: Values, groups: Groups) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over images, NaN for a single group.

    Args:
        values: (N,)
        groups: What belongs together (N,).

    References:
        Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.
    """
    member = members(groups)
    sums, counts = np.bincount(member, values), np.bincount(member)
    if len(counts) < 2:
        return float("nan"), float("nan")
    drawn = draws(len(counts))
    low, high = np.quantile(drawn @ sums / (drawn @ counts), INTERVAL)
    return float(low), float(high)


def members(groups: Groups) -> NDArray[np.intp]:
    """Return the number of each image's group (N,)."""
    numbers: NDArray[np.intp] = np.unique(groups, return_inverse=True)[1]
    return numbers


@lru_cache(maxsize=8)
def draws(groups: int) -> Values:
    """Return how often each resample draws each group (B, G), the same at every call."""
    share = np.full(groups, 1 / groups)
    return np.random.default_rng(0).multinomial(groups, share, size=RESAMPLES).astype(float)
