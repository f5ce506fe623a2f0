"""Paired tests between models over the test images, with intervals from the cluster bootstrap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from itertools import combinations

import numpy as np
from scipy import stats

from benchmarks.reports.analysis.paper import ROWS as PAPER_ROWS
from benchmarks.reports.analysis.paper import metric_name
from benchmarks.reports.dataset_results import DatasetResults, Groups, Values
from benchmarks.reports.results_table import COLUMNS, VARIANTS
from benchmarks.tables import Best, Column, TableCell, interval, number
from probseg.metrics.intervals import mean_interval

BEST: Mapping[str, Best] = {c.name: c.best for c in COLUMNS} | {"ncc": "high"}
# Hungarian-matched IoU is 1 − Ŵ (1 − IoU): a test of it would only repeat that one.
# The Gini index is tested, but neither row is better for a lower one.
TESTED = tuple(
    metric
    for metric, best in BEST.items()
    if (best or metric == "gini") and metric != "hungarian-iou"
)
LEVEL = 0.05
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
    """How two rows differ in one metric on the test images of a data set."""

    profile: str
    dataset: str
    metric: str
    first: str
    second: str
    cells: int  # folds and seeds that were averaged, image by image, before the test
    adjusted: float  # p after Holm's correction over its family

    @property
    def lower(self) -> str | None:
        """The row with the lower values, where interval and adjusted p agree that one has them."""
        if not self.adjusted < LEVEL or not self.low * self.high > 0:
            return None
        return self.first if self.difference < 0 else self.second

    @property
    def better(self) -> str | None:
        """The row that is better, where interval and adjusted p agree that one is."""
        lower, best = self.lower, BEST.get(self.metric, "low")
        if lower is None or not best:
            return None
        higher = self.second if lower == self.first else self.first
        return lower if best == "low" else higher


def _side(test: PairedTest, name: str) -> TableCell:
    row = str(getattr(test, name))
    return TableCell(row, row, "better" if test.better == row else "")


TEST_COLUMNS: Sequence[Column[PairedTest]] = (
    Column("metric", lambda test: metric_name(test.metric), number=False),
    Column("first", partial(_side, name="first"), number=False),
    Column("second", partial(_side, name="second"), number=False),
    Column("difference", lambda test: number(test.difference)),
    Column("95 % interval", lambda test: interval(test.low, test.high)),
    Column("effect", lambda test: number(test.rank_biserial, ".2f")),
    Column("p", lambda test: TableCell(f"{test.p:.2g}", test.p)),
    Column("p, Holm", lambda test: TableCell(f"{test.adjusted:.2g}", test.adjusted)),
)


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


def paired_tests(results: DatasetResults) -> list[PairedTest]:
    """Compare every two trained rows in every metric in which one can be better.

    The comparisons among the paper's three models are one family of Holm's correction, and those
    with other rows another, so that an ablation beside them does not change their p values; and
    those between stratified samples of rows that have such a third one.
    """
    rows = sorted(results.trained, key=_paper_first)
    papers = [r for r in rows if r in PAPER_ROWS]
    pairs = list(combinations(rows, 2))
    families = (
        [pair for pair in pairs if set(pair) <= set(papers)],
        [pair for pair in pairs if not set(pair) <= set(papers)],
    )
    tests = [test for family in families for test in _family(results, family)]
    return tests + _family(results, pairs, variant="stratified")


def _paper_first(row: str) -> int:
    return PAPER_ROWS.index(row) if row in PAPER_ROWS else len(PAPER_ROWS)


def _family(
    results: DatasetResults, pairs: Iterable[tuple[str, str]], variant: str = "base"
) -> list[PairedTest]:
    tests = (paired_test(results, *pair, metric, variant) for pair in pairs for metric in TESTED)
    name = VARIANTS.get(variant, "")
    named = [replace(t, first=t.first + name, second=t.second + name) for t in tests if t]
    return adjust(named)


def paired_test(
    results: DatasetResults, first: str, second: str, metric: str, variant: str = "base"
) -> PairedTest | None:
    """Compare two rows in one metric, or return None where they share no image.

    The adjusted p is that of this test alone until it is adjusted for its family.
    """
    pair = results.paired((first, metric), (second, metric), variants=(variant, variant))
    if pair is None:
        return None
    comparison = compare(pair.first, pair.second, pair.groups)
    return PairedTest(
        **asdict(comparison),
        profile=results.profile,
        dataset=results.dataset,
        metric=metric,
        first=first,
        second=second,
        cells=pair.cells,
        adjusted=comparison.p,
    )


def adjust(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """Return a family of tests with p adjusted by Holm's procedure."""
    adjusted = holm([test.p for test in tests])
    return [replace(test, adjusted=p) for test, p in zip(tests, adjusted, strict=True)]
