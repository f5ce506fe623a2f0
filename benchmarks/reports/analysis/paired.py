"""Paired tests between models over the test images, with intervals from the cluster bootstrap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from benchmarks.reports.analysis.paper import ROWS as PAPER_ROWS
from benchmarks.reports.analysis.paper import metric_name
from benchmarks.reports.dataset_results import DatasetResults
from benchmarks.reports.results_table import COLUMNS, VARIANTS
from probseg.metrics.paired import PairedTest, adjust, compare
from probseg.reports import score_tables
from probseg.reports.tables import Best, Column

BEST: Mapping[str, Best] = {c.name: c.best for c in COLUMNS} | {"ncc": "high"}
# Hungarian-matched IoU is 1 − Ŵ (1 − IoU): a test of it would only repeat that one.
# The Gini index is tested, but neither row is better for a lower one.
TESTED = tuple(
    metric
    for metric, best in BEST.items()
    if (best or metric == "gini") and metric != "hungarian-iou"
)
_HIGHER: Mapping[str, bool] = {"low": False, "high": True}


@dataclass(frozen=True, kw_only=True)
class RowTest(PairedTest):
    """How two rows differ in one metric on the test images of a data set."""

    profile: str
    dataset: str
    cells: int  # folds and seeds that were averaged, image by image, before the test


TEST_COLUMNS: Sequence[Column[Any]] = (
    Column("metric", lambda test: metric_name(test.metric), number=False),
    *score_tables.TEST_COLUMNS[1:],
)


def paired_tests(results: DatasetResults) -> list[RowTest]:
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
) -> list[RowTest]:
    tests = (paired_test(results, *pair, metric, variant) for pair in pairs for metric in TESTED)
    name = VARIANTS.get(variant, "")
    named = [replace(t, first=t.first + name, second=t.second + name) for t in tests if t]
    return adjust(named)


def paired_test(
    results: DatasetResults, first: str, second: str, metric: str, variant: str = "base"
) -> RowTest | None:
    """Compare two rows in one metric, or return None where they share no image.

    The adjusted p is that of this test alone until it is adjusted for its family.
    """
    pair = results.paired((first, metric), (second, metric), variants=(variant, variant))
    if pair is None:
        return None
    comparison = compare(pair.first, pair.second, pair.groups)
    return RowTest(
        **asdict(comparison),
        profile=results.profile,
        dataset=results.dataset,
        metric=metric,
        first=first,
        second=second,
        cells=pair.cells,
        adjusted=comparison.p,
        higher_is_better=_HIGHER.get(BEST.get(metric, "low")),
    )
