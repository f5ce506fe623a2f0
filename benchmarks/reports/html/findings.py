"""Findings of the analysis as the page shows them: verdicts, the paper's tables, tests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Any, TypeVar

from benchmarks.reports.analysis.claims import Verdict
from benchmarks.reports.analysis.correlation import Coefficient, Correlation
from benchmarks.reports.analysis.paired import PairedTest
from benchmarks.reports.analysis.paper import Entry, PaperRow, PaperTable
from benchmarks.reports.html.grids import MISSING, Field, Grid, Head
from benchmarks.reports.tables import COLUMNS, Column

_TITLES = {column.metric: column.title for column in COLUMNS}
_Found = TypeVar("_Found", PairedTest, Correlation)
_OUTCOMES = ("reproduced", "not reproduced", "not tested")


def of_verdicts(verdicts: Sequence[Verdict], datasets: Container[str]) -> dict[str, Any]:
    """Return what the page says of the paper's claims, those on data sets that were run apart."""
    claims: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        claims.setdefault(verdict.claim, []).append(verdict)
    ran = {claim for claim, found in claims.items() if any(v.dataset in datasets for v in found)}
    return {
        "tally": _tally(verdicts),
        "touched": {claim: found for claim, found in claims.items() if claim in ran},
        "untouched": {claim: found for claim, found in claims.items() if claim not in ran},
    }


def _tally(verdicts: Iterable[Verdict]) -> dict[str, int]:
    found = Counter(verdict.outcome for verdict in verdicts)
    return {outcome: found[outcome] for outcome in _OUTCOMES}


def of_paper(table: PaperTable) -> Grid:
    """Return one of the paper's tables, our value over the paper's."""
    return Grid(
        name=f"Table {table.number}, profile {table.profile}",
        caption=table.caption,
        heads=[
            Head("model", number=False),
            Head("data set", number=False),
            *(Head(c.title) for c in table.columns),
        ],
        rows=[
            [
                Field(row.model, row.model),
                Field(row.dataset, row.dataset),
                *(_beside(row, column) for column in table.columns),
            ]
            for row in table.rows
        ],
    )


def _beside(row: PaperRow, column: Column) -> Field:
    entry = row.entries.get(column.metric)
    if entry is None:
        return Field(MISSING)
    text = entry.ours.show(column.digits) if entry.ours else MISSING
    sort = entry.ours.mean if entry.ours else None
    return Field(text, sort, "best" if entry.best else "", _papers(entry, column))


def _papers(entry: Entry, column: Column) -> str:
    marks = " (best)" * entry.paper_best + " †" * entry.differs
    return f"paper {entry.paper.show(column.digits)}{marks}"


def of_tests(tests: Sequence[PairedTest]) -> list[Grid]:
    """Return one table of paired tests a profile and data set."""
    return [_tests(found) for found in _by_experiment(tests)]


def _by_experiment(found: Iterable[_Found]) -> list[list[_Found]]:
    experiments: dict[str, list[_Found]] = {}
    for one in found:
        experiments.setdefault(_experiment(one), []).append(one)
    return list(experiments.values())


def _experiment(one: PairedTest | Correlation) -> str:
    return f"{one.dataset}, profile {one.profile}"


def _tests(tests: Sequence[PairedTest]) -> Grid:
    first = tests[0]
    return Grid(
        name=_experiment(first),
        caption=f"{first.images} test images of {first.groups} patients or cases; "
        f"folds and seeds are averaged image by image.",
        heads=[
            *(Head(title, number=False) for title in ("models", "metric")),
            *map(Head, ("difference", "95 % interval", "effect size", "p (Holm)")),
            Head("better", number=False),
        ],
        rows=[_test(test) for test in tests],
    )


def _test(test: PairedTest) -> list[Field]:
    better = Field(test.better, test.better) if test.better else Field("undecided")
    names = f"{test.first} − {test.second}"
    return [
        *(Field(text, text) for text in (names, _title(test.metric))),
        number(test.difference, "+.4f"),
        Field(_interval(test.low, test.high), _known(test.low)),
        number(test.rank_biserial, "+.2f"),
        number(test.adjusted, ".2g"),
        better,
    ]


def of_correlations(correlations: Sequence[Correlation]) -> list[Grid]:
    """Return one table of the Gini index's correlations with Ŵ a profile and data set."""
    return [_correlations(found) for found in _by_experiment(correlations)]


def _correlations(found: Sequence[Correlation]) -> Grid:
    return Grid(
        name=_experiment(found[0]),
        heads=[
            *(Head(title, number=False) for title in ("over", "metric")),
            *map(Head, ("points", "Pearson", "Spearman")),
        ],
        rows=[_correlation(one) for one in found],
    )


def _correlation(one: Correlation) -> list[Field]:
    over = f"{one.over} of {', '.join(one.rows)}"
    return [
        *(Field(text, text) for text in (over, _title(one.metric))),
        Field(str(one.points), one.points),
        _coefficient(one.pearson),
        _coefficient(one.spearman),
    ]


def _title(metric: str) -> str:
    return _TITLES.get(metric, metric.upper())


def _coefficient(value: Coefficient) -> Field:
    field = number(value.value, "+.2f")
    return Field(field.text, field.sort, note=_interval(value.low, value.high, "+.2f"))


def number(value: float | None, form: str) -> Field:
    """Return a number as text that sorts by its value; NaN is missing."""
    known = _known(value)
    return Field(MISSING) if known is None else Field(f"{known:{form}}".replace("-", "−"), known)


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _interval(low: float, high: float, form: str = "+.4f") -> str:
    texts = [number(end, form).text for end in (low, high)]
    return MISSING if MISSING in texts else " to ".join(texts)
