"""The correlation of the prior's Gini index with Ŵ, which the paper claims on every data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.reports.analysis.paper import ROWS as PAPER_ROWS
from benchmarks.reports.analysis.paper import metric_name
from benchmarks.reports.dataset_results import DatasetResults, Groups, Paired, Values
from probseg.metrics.intervals import RESAMPLES, draws, members
from probseg.reports.tables import Column, TableCell, interval, number

KERNELS = ("w-iou", "w-dice", "w-hausdorff", "w-cross-entropy")
INTERVAL = (0.025, 0.975)
FEWEST = 4  # points of a correlation; three lie on a line too easily
FEWEST_SHOWN = (
    10  # trainings of one that is listed: fewer, of few models, are little more than that
)


class Coefficient(NamedTuple):
    """A correlation with its 95 % bootstrap interval; NaN where a side does not vary."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How the Gini index goes with a metric."""

    profile: str
    dataset: str
    metric: str
    over: str  # what the points are: "cells" (model, fold and seed) or the test "images" of one row
    rows: tuple[str, ...]
    points: int
    pearson: Coefficient
    spearman: Coefficient

    @property
    def shown(self) -> bool:
        """Whether the report lists it: it is over enough trainings, or images."""
        return self.points >= FEWEST_SHOWN


def _coefficient_cell(coefficient: Coefficient) -> TableCell:
    limits = interval(coefficient.low, coefficient.high, ".2f").text
    value = number(coefficient.value, ".2f")
    return TableCell(f"{value.text} ({limits})", value.value)


CORRELATION_COLUMNS: Sequence[Column[Correlation]] = (
    Column("metric", lambda one: metric_name(one.metric), number=False),
    Column("over", lambda one: f"{one.over} of {', '.join(one.rows)}", number=False),
    Column("points", lambda one: one.points),
    Column("Pearson", lambda one: _coefficient_cell(one.pearson)),
    Column("Spearman", lambda one: _coefficient_cell(one.spearman)),
)


def correlations(results: DatasetResults) -> list[Correlation]:
    """Correlate the Gini index with Ŵ: over models, folds and seeds, and over each row's images.

    Over cells it is the paper's correlation: whether the model with the lower index has the lower
    Ŵ, once among the paper's models and once among all. Over the images of one row it is another
    question: whether an image whose prior is spread more evenly is answered better.
    """
    latent = tuple(r for r in results.trained if _points(results, [r], KERNELS[0]))
    papers = tuple(row for row in latent if row in PAPER_ROWS)
    sets = [rows for rows in dict.fromkeys((papers, latent)) if len(rows) > 1]
    over_cells = (_over_cells(results, rows) for rows in sets)
    over_images = (_over_images(results, row) for row in latent)
    return list(chain.from_iterable(chain(over_cells, over_images)))


def _over_cells(results: DatasetResults, rows: tuple[str, ...]) -> Iterator[Correlation]:
    for metric in KERNELS:
        points = _points(results, rows, metric)
        if len(points) >= FEWEST:
            gini, cost = np.array(points).T
            pair = Paired(gini, cost, np.arange(len(points)).astype(str), len(points))
            yield _correlation(results, pair, metric=metric, over="cells", rows=rows)


def _points(results: DatasetResults, rows: Iterable[str], metric: str) -> list[tuple[float, float]]:
    means = [result.means["base"] for row in rows for result in results.rows[row]]
    pairs = ((cell.get("gini"), cell.get(metric)) for cell in means)
    return [(gini, cost) for gini, cost in pairs if gini is not None and cost is not None]


def _over_images(results: DatasetResults, row: str) -> Iterator[Correlation]:
    for metric in KERNELS:
        pair = results.paired((row, "gini"), (row, metric))
        if pair is not None and len(pair.first) >= FEWEST:
            yield _correlation(results, pair, metric=metric, over="images", rows=(row,))


def _correlation(
    results: DatasetResults, pair: Paired, *, metric: str, over: str, rows: tuple[str, ...]
) -> Correlation:
    ranks = stats.rankdata(pair.first), stats.rankdata(pair.second)
    return Correlation(
        profile=results.profile,
        dataset=results.dataset,
        metric=metric,
        over=over,
        rows=rows,
        points=len(pair.first),
        pearson=coefficient(pair.first, pair.second, pair.groups),
        spearman=coefficient(*ranks, pair.groups),
    )


def coefficient(x: Values, y: Values, groups: Groups) -> Coefficient:
    """Return Pearson's correlation of x (N,) and y (N,); of ranks it is Spearman's.

    The interval resamples whole groups (N,), such as the images of a patient. Ranks stay those of
    the full sample, which saves ranking every resample anew and hardly moves the interval.
    """
    member = members(groups)
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
