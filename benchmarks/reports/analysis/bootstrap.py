"""The cluster bootstrap, which resamples whole groups: intervals of means and correlations."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.reports.dataset_results import Groups, Values

FEWEST = 4  # points of a correlation; three lie on a line too easily
RESAMPLES = 2000
INTERVAL = (0.025, 0.975)


class Coefficient(NamedTuple):
    """A correlation with its 95 % bootstrap interval; NaN where a side does not vary."""

    value: float
    low: float
    high: float


def mean_interval(values: Values, groups: Groups) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over images, NaN for a single group.

    Args:
        values: (N,)
        groups: What belongs together (N,).

    References:
        Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.
    """
    member = _members(groups)
    sums, counts = np.bincount(member, values), np.bincount(member)
    if len(counts) < 2:
        return float("nan"), float("nan")
    weights = draws(len(counts))
    low, high = np.quantile(weights @ sums / (weights @ counts), INTERVAL)
    return float(low), float(high)


def coefficient(x: Values, y: Values, groups: Groups) -> Coefficient:
    """Return Pearson's correlation; of ranks it is Spearman's.

    The interval resamples whole groups. Ranks stay those of the full sample, which saves ranking
    every resample anew and hardly moves the interval.

    Args:
        x: (N,)
        y: (N,)
        groups: What belongs together (N,), such as the images of a patient.
    """
    member = _members(groups)
    weights = draws(int(member.max()) + 1)[:, member]
    resampled = _weighted(x, y, weights)
    defined = resampled[np.isfinite(resampled)]
    value = float(_weighted(x, y, np.ones((1, len(x))))[0])
    if member.max() + 1 < FEWEST or len(defined) < RESAMPLES / 2:
        return Coefficient(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, INTERVAL)
    return Coefficient(value, float(low), float(high))


def _weighted(x: Values, y: Values, weights: Values) -> Values:
    """Return the correlation under each row of weights (B, N); NaN where a side is constant."""
    x, y = (v - v.mean() for v in (x, y))
    total = weights.sum(1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    covariance = weights @ (x * y) / total - mean_x * mean_y
    variances = (weights @ (x * x) / total - mean_x**2) * (weights @ (y * y) / total - mean_y**2)
    vary = variances > 1e-12 * (x.var() * y.var())
    if not x.any() or not y.any():
        return np.full(len(weights), np.nan)
    safe = np.where(vary, variances, 1.0)
    return np.where(vary, covariance / np.sqrt(safe), np.nan).clip(-1, 1)


def _members(groups: Groups) -> NDArray[np.intp]:
    """Return the index of each image's group (N,)."""
    numbers: NDArray[np.intp] = np.unique(groups, return_inverse=True)[1]
    return numbers


@lru_cache(maxsize=8)
def draws(groups: int) -> Values:
    """Return how often each resample draws each group (B, G), the same at every call."""
    share = np.full(groups, 1 / groups)
    return np.random.default_rng(0).multinomial(groups, share, size=RESAMPLES).astype(float)
