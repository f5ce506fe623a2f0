"""The correlation of the prior's Gini index with Ŵ, which the paper claims on every data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy import stats

from benchmarks.reports.analysis.bootstrap import FEWEST, Coefficient, coefficient
from benchmarks.reports.analysis.paper import ROWS as PAPER_ROWS
from benchmarks.reports.dataset_results import DatasetResults, Paired

KERNELS = ("w-iou", "w-dice", "w-hausdorff", "w-cross-entropy")


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
