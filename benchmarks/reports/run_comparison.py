"""Two runs side by side: the same rows, how they differ, and which settings do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis.dataset_results import DatasetResults
from benchmarks.reports.analysis.paired import LEVEL, Comparison, compare_pair, holm
from benchmarks.reports.html.rendering import write_page
from benchmarks.reports.results_table import (
    COLUMNS,
    VARIANTS,
    MetricColumn,
    Summary,
    summaries,
)
from benchmarks.reports.runs import load
from benchmarks.tables import MISSING, Column, Mark, Table, TableCell, interval, number
from probseg.errors import OptionError

RowKey = tuple[str, str, str]  # profile, data set and row
_ROW_KEYS = ("row", "fold", "seed", "profile")  # the keys of a config that identify its cell


@dataclass(frozen=True)
class ComparedRun:
    """The finished results of a folder.

    Args:
        name: As it was given.
        rows: The results of each row, one a fold and seed.
        remarks: What was left out.
    """

    name: str
    rows: Mapping[RowKey, Sequence[Result]]
    remarks: Sequence[str]


@dataclass(frozen=True)
class Line:
    """One metric of one row in both runs."""

    profile: str
    dataset: str
    row: str
    column: MetricColumn
    first: Summary | None
    second: Summary | None
    paired: Comparison | None  # second − first, over the test images that both scored
    adjusted: float | None  # its p after Holm's correction over all lines

    @property
    def change(self) -> float | None:
        """The second run's mean minus the first's."""
        return self.second.mean - self.first.mean if self.first and self.second else None

    @property
    def outcome(self) -> Mark:
        """Whether the second run is "better" or "worse", where interval and p agree that one is."""
        if self.paired is None or self.adjusted is None or not self.column.best:
            return ""
        if not self.adjusted < LEVEL or not self.paired.low * self.paired.high > 0:
            return ""
        lower = self.paired.difference < 0
        return "better" if lower == (self.column.best == "low") else "worse"


@dataclass(frozen=True)
class ChangedSetting:
    """A setting that differs, and in which rows."""

    name: str
    first: str
    second: str
    rows: Sequence[str]
    everywhere: bool  # in every row that both runs have


def read_run(folder: Path) -> ComparedRun:
    """Read the finished cells of a run, or of one that was exported.

    Raises:
        ResultError: None is finished, or two are the same row with other settings.
    """
    run = load(folder)
    rows: dict[RowKey, list[Result]] = {}
    for result in run.results:
        key = result.cell.profile, result.cell.dataset, result.cell.row
        rows.setdefault(key, []).append(result)
    return ComparedRun(str(folder), rows, [f"left out: {problem}" for problem in run.problems])


def compare_runs(first: ComparedRun, second: ComparedRun) -> list[Line]:
    """Compare the rows that both runs have, metric by metric.

    Raises:
        OptionError: They share no row.
    """
    shared = [key for key in first.rows if key in second.rows]
    if not shared:
        own, other = (", ".join(map(" · ".join, run.rows)) for run in (first, second))
        raise OptionError(f"the runs share no row: {first.name} has {own}; {second.name} {other}")
    lines = [line for key in shared for line in _lines(key, first.rows[key], second.rows[key])]
    adjusted = iter(holm([line.paired.p for line in lines if line.paired]))
    return [replace(line, adjusted=next(adjusted)) if line.paired else line for line in lines]


def _lines(key: RowKey, first: Sequence[Result], second: Sequence[Result]) -> Iterator[Line]:
    profile, dataset, row = key
    comparable = len({result.tested_on.fingerprint for result in (*first, *second)}) == 1
    results = DatasetResults(profile, dataset, {"first": first, "second": second})
    for variant in first[0].means:
        one, other = summaries(first, variant), summaries(second, variant)
        for column in COLUMNS:
            values = one.get(column.name), other.get(column.name)
            if any(values):
                paired = _paired(results, column.name, variant) if comparable else None
                name = row + VARIANTS.get(variant, "")
                yield Line(profile, dataset, name, column, *values, paired, None)


def _paired(results: DatasetResults, metric: str, variant: str) -> Comparison | None:
    sides = ("second", metric), ("first", metric)
    pair = results.paired(*sides, variants=(variant, variant))
    return compare_pair(pair) if pair is not None else None


def changed_settings(first: ComparedRun, second: ComparedRun) -> list[ChangedSetting]:
    """Return the settings, data and provenance that differ between rows of the same name."""
    changed: dict[tuple[str, str, str], list[str]] = {}
    shared = [key for key in first.rows if key in second.rows]
    for key in shared:
        one, other = (_settings(run.rows[key]) for run in (first, second))
        for name in dict.fromkeys((*one, *other)):
            values = one.get(name, MISSING), other.get(name, MISSING)
            if values[0] != values[1]:
                changed.setdefault((name, *values), []).append(" · ".join(key[1:]))
    return [ChangedSetting(*key, rows, len(rows) == len(shared)) for key, rows in changed.items()]


def _settings(results: Sequence[Result]) -> dict[str, str]:
    """Return config, folds, data and provenance of a row as dotted names and values."""
    content = results[0].to_json()
    config = {key: value for key, value in content["config"].items() if key not in _ROW_KEYS}
    trainings = sorted({(r.cell.fold, r.cell.seed) for r in results}, key=str)
    source = {"data": content["data"], "provenance": content["provenance"]}
    folds = {"folds and seeds": json.dumps(trainings)}
    return {**dict(_flat(config)), **folds, **dict(_flat(source))}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)


def _mean(line: Line, summary: Summary | None) -> TableCell:
    return (
        TableCell(summary.show(line.column.digits), summary.mean) if summary else TableCell(MISSING)
    )


def _outcome(line: Line) -> TableCell:
    outcome = line.outcome or ("undecided" if line.paired and line.column.best else MISSING)
    return TableCell(outcome, outcome, line.outcome)


def _interval(line: Line) -> TableCell:
    form = f"+.{line.column.digits}f"
    return interval(line.paired.low, line.paired.high, form) if line.paired else TableCell(MISSING)


# The columns of the comparison: a new one is a new line here. A terminal shows the first six.
LINE_COLUMNS: Sequence[Column[Line]] = (
    Column("", lambda line: line.row, number=False, hint="model", once=True),
    Column("metric", lambda line: line.column.heading, number=False),
    Column("A", lambda line: _mean(line, line.first)),
    Column("B", lambda line: _mean(line, line.second)),
    Column("B − A", lambda line: number(line.change, f"+.{line.column.digits}f")),
    Column("B is", _outcome, number=False),
    Column("95 % interval", _interval),
    Column("p (Holm)", lambda line: number(line.adjusted, ".2g")),
    Column("images", lambda line: line.paired.images if line.paired else None),
)
SETTING_COLUMNS: Sequence[Column[ChangedSetting]] = (
    Column("setting", lambda one: one.name, number=False),
    Column("A", lambda one: one.first, number=False),
    Column("B", lambda one: one.second, number=False),
    Column("rows", lambda one: "all" if one.everywhere else ", ".join(one.rows), number=False),
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
            caption="" if any(line.paired for line in own) else other,
        )
        for (dataset, profile), own in by_dataset.items()
    ]


def write_comparison(
    runs: tuple[ComparedRun, ComparedRun],
    lines: Sequence[Line],
    settings: Sequence[ChangedSetting],
    out: Path,
) -> None:
    """Write ``compare.html``.

    Raises:
        WriteError: The disk is full or read-only.
    """
    outcomes = [line.outcome for line in lines]
    write_page(
        out,
        "compare.html.j2",
        scripts=("theme.js", "tables.js"),
        title="Two runs side by side",
        runs=dict(zip("AB", runs, strict=True)),
        tables=lines_tables(lines),
        settings=Table.of(SETTING_COLUMNS, settings, title="Settings that differ"),
        counts={outcome: outcomes.count(outcome) for outcome in ("better", "worse")},
        total=len(lines),
    )
