"""Two runs side by side: the same rows, how they differ, and which settings do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis.paired import RowTest, paired_test
from benchmarks.reports.dataset_results import DatasetResults
from benchmarks.reports.results_table import COLUMNS, VARIANTS, MetricColumn, Summary, summaries
from benchmarks.reports.runs import RunResults
from probseg.errors import OptionError
from probseg.metrics.paired import adjust
from probseg.reports.tables import (
    MISSING,
    Column,
    Mark,
    Table,
    TableCell,
    interval,
    number,
    with_arrow,
)

RowKey = tuple[str, str, str]  # profile, data set and row
Rows = Mapping[RowKey, Sequence[Result]]  # the results of each row, one a fold and seed
_ROW_KEYS = ("row", "fold", "seed", "profile")  # the keys of a config that identify its cell


@dataclass(frozen=True)
class Line:
    """One metric of one row in both runs, A and B."""

    profile: str
    dataset: str
    row: str
    column: MetricColumn
    first: Summary | None
    second: Summary | None
    test: RowTest | None  # B − A, over the test images that both scored

    @property
    def change(self) -> float | None:
        """B's mean minus A's."""
        return self.second.mean - self.first.mean if self.first and self.second else None

    @property
    def outcome(self) -> Mark:
        """Whether B is "better" or "worse", where interval and p agree that one is."""
        better = self.test.better if self.test else None
        return "better" if better == "B" else "worse" if better == "A" else ""


def rows_of(run: RunResults) -> Rows:
    """Return the results of a run, row by row."""
    rows: dict[RowKey, list[Result]] = {}
    for result in run.results:
        key = result.experiment.profile, result.experiment.dataset, result.experiment.row
        rows.setdefault(key, []).append(result)
    return rows


def compare_runs(first: Rows, second: Rows) -> list[Line]:
    """Compare the rows that both runs have, metric by metric.

    Raises:
        OptionError: They share no row.
    """
    shared = [key for key in first if key in second]
    if not shared:
        own, other = (", ".join(map(" · ".join, rows)) for rows in (first, second))
        raise OptionError(f"the runs share no row: the first has {own}; the second {other}")
    lines = [line for key in shared for line in _lines(key, first[key], second[key])]
    adjusted = iter(adjust([line.test for line in lines if line.test]))
    return [replace(line, test=next(adjusted)) if line.test else line for line in lines]


def _lines(key: RowKey, first: Sequence[Result], second: Sequence[Result]) -> Iterator[Line]:
    profile, dataset, row = key
    comparable = len({result.tested_on.fingerprint for result in (*first, *second)}) == 1
    results = DatasetResults(profile, dataset, {"A": first, "B": second})
    for variant in first[0].means:
        one, other = summaries(first, variant), summaries(second, variant)
        for column in COLUMNS:
            values = one.get(column.name), other.get(column.name)
            if any(values):
                test = paired_test(results, "B", "A", column.name, variant) if comparable else None
                name = row + VARIANTS.get(variant, "")
                yield Line(profile, dataset, name, column, *values, test)


def changed_settings(first: Rows, second: Rows) -> list[str]:
    """Say which settings, data and provenance differ between rows of the same name."""
    changed: dict[str, list[str]] = {}
    shared = [key for key in first if key in second]
    for key in shared:
        one, other = _settings(first[key]), _settings(second[key])
        for name in dict.fromkeys((*one, *other)):
            values = one.get(name, MISSING), other.get(name, MISSING)
            if values[0] != values[1]:
                text = f"{name}: {' → '.join(values)}"
                changed.setdefault(text, []).append(" · ".join(key[1:]))
    return [
        text if len(rows) == len(shared) else f"{text} ({', '.join(rows)})"
        for text, rows in changed.items()
    ]


def _settings(results: Sequence[Result]) -> dict[str, str]:
    """Return config, folds, data and provenance of a row as dotted names and values."""
    content = results[0].to_json()
    config = {key: value for key, value in content["config"].items() if key not in _ROW_KEYS}
    trainings = sorted({(r.experiment.fold, r.experiment.seed) for r in results}, key=str)
    source = {"data": content["data"], "provenance": content["provenance"]}
    # both have "data": the settings, and what they gave
    return dict([*_flat({**config, "folds and seeds": trainings}), *_flat(source)])


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)


def _outcome(line: Line) -> TableCell:
    outcome = line.outcome or ("undecided" if line.test and line.column.best else MISSING)
    return TableCell(outcome, outcome, line.outcome)


def _interval(line: Line) -> TableCell:
    form = f"+.{line.column.digits}f"
    return interval(line.test.low, line.test.high, form) if line.test else TableCell(MISSING)


# The columns of the comparison: a new one is a new line here. A terminal shows the first six.
LINE_COLUMNS: Sequence[Column[Line]] = (
    Column("", lambda line: line.row, number=False, hint="model", once=True),
    Column("metric", lambda line: with_arrow(line.column.title, line.column.best), number=False),
    Column("A", lambda line: line.column.cell(line.first)),
    Column("B", lambda line: line.column.cell(line.second)),
    Column("B − A", lambda line: number(line.change, f"+.{line.column.digits}f")),
    Column("B is", _outcome, number=False),
    Column("95 % interval", _interval),
    Column("p (Holm)", lambda line: number(line.test.adjusted if line.test else None, ".2g")),
    Column("images", lambda line: line.test.images if line.test else None),
)


def lines_tables(lines: Sequence[Line], *, columns: int | None = None) -> list[Table]:
    """Return one table a profile and data set, of the first ``columns`` columns."""
    by_dataset: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        by_dataset.setdefault((line.dataset, line.profile), []).append(line)
    other = "The runs scored other images, so that nothing can be tested."
    return [
        Table.of(
            LINE_COLUMNS[:columns],
            own,
            title=f"{dataset}, profile {profile}",
            caption="" if any(line.test for line in own) else other,
        )
        for (dataset, profile), own in by_dataset.items()
    ]
