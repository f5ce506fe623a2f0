"""Whether two systems differ on the same images: paired tests, and intervals over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from probseg.metrics.intervals import Values, mean_interval

Groups = Sequence[str] | NDArray[Any]
LEVEL = 0.05  # below which an adjusted p is taken for more than noise
FEW = 13  # images, of which scipy's test is exact with ties too, but takes seconds


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two paired samples differ."""

    images: int
    groups: int  # patients
    first_mean: float
    second_mean: float
    difference: float  # first − second, mean over images
    low: float  # 95 % bootstrap interval of the difference, patients resampled; NaN for one
    high: float
    rank_biserial: float  # from −1, first is lower everywhere, to 1, it is higher everywhere
    p: float  # Wilcoxon signed-rank, two-sided


@dataclass(frozen=True, kw_only=True)
class PairedTest(Comparison):
    """How two systems differ in one metric: one test of a family."""

    metric: str
    first: str
    second: str
    adjusted: float  # p after Holm's correction over its family
    higher_is_better: bool | None  # None: neither is

    @property
    def lower(self) -> str | None:
        """Which has the lower values, where interval and adjusted p agree that one has them."""
        if not self.adjusted < LEVEL or not self.low * self.high > 0:
            return None
        return self.first if self.difference < 0 else self.second

    @property
    def better(self) -> str | None:
        """Which is better, where interval and adjusted p agree that one is."""
        if (lower := self.lower) is None or self.higher_is_better is None:
            return None
        higher = self.second if lower == self.first else self.first
        return higher if self.higher_is_better else lower


def compare(first: Values, second: Values, groups: Groups) -> Comparison:
    """Compare two samples (N,) of the same images, whose patients (N,) the bootstrap resamples.

    References:
        Wilcoxon, "Individual comparisons by ranking methods", 1945; Kerby, "The simple difference
        formula", 2014 (the matched-pairs rank-biserial correlation).
    """
    differences = first - second
    low, high = mean_interval(differences, groups)
    return Comparison(
        images=len(differences),
        groups=len(np.unique(groups)),
        first_mean=float(first.mean()),
        second_mean=float(second.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        rank_biserial=rank_biserial(differences),
        p=signed_rank(differences),
    )


def signed_rank(differences: Values) -> float:
    """Return p of Wilcoxon's two-sided test, of few images from every choice of their signs.

    >>> signed_rank(np.array([1.0, 2.0, 3.0]))
    0.25
    """
    ranks = _signed_ranks(differences)
    if not len(ranks):
        return 1.0
    if len(differences) > FEW:
        return float(stats.wilcoxon(differences).pvalue)
    sums = reduce(np.add.outer, np.stack((ranks, -ranks), axis=1))  # (2, 2, …), one axis a sign
    return float((np.abs(sums) >= abs(ranks.sum())).mean())


def rank_biserial(differences: Values) -> float:
    """Return ``(W+ − W−) / (W+ + W−)``, 0 where nothing differs.

    >>> rank_biserial(np.array([1.0, 2.0, -3.0, 0.0]))
    0.0
    """
    ranks = _signed_ranks(differences)
    return float(ranks.sum() / np.abs(ranks).sum()) if len(ranks) else 0.0


def _signed_ranks(differences: Values) -> Values:
    changed = differences[differences != 0]
    ranks: Values = np.sign(changed) * stats.rankdata(np.abs(changed))
    return ranks


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down procedure, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    References:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    p = np.asarray(ps, dtype=float)
    order = p.argsort(kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = steps.clip(max=1)
    return [float(value) for value in adjusted]


Test = TypeVar("Test", bound=PairedTest)


def adjust(tests: Sequence[Test]) -> list[Test]:
    """Return a family of tests with p adjusted by Holm's procedure."""
    adjusted = holm([test.p for test in tests])
    return [replace(test, adjusted=p) for test, p in zip(tests, adjusted, strict=True)]
