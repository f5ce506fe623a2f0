"""The paper's Tables 1 and 2, each of its values with ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.reports.analysis import paper
from benchmarks.reports.analysis.paper import Published, published
from benchmarks.reports.dataset_results import DatasetResults
from benchmarks.reports.results_table import COLUMNS, MetricColumn, Summary, summaries
from probseg.reports.tables import Column, Table, TableCell, to_csv

# The columns of the paper's tables, all with three digits.
PAPER_COLUMNS = {c.name: replace(c, digits=3) for c in COLUMNS if c.name in paper.PRINTED}
# The paper does not say how it normalises the cross-entropy, so only its order compares.
INCOMPARABLE = ("w-cross-entropy",)
LEGEND = (
    "Mean ± standard deviation over the cells (in the paper: three folds); bold: the best of the "
    "three models, in the paper's rows also the lowest Gini index, as the paper prints it; "
    "† differs from the paper's value by more than the two standard deviations together. "
    "Cross-entropy is a mean over pixels here; the paper does not say what its is, so it has no "
    "mark."
)


@dataclass(frozen=True)
class PaperValue:
    """One value of the paper, and ours if there is one."""

    paper: Summary
    ours: Summary | None
    paper_best: bool  # the lowest of the data set's models, to the digits shown
    best: bool
    differs: bool  # by more than both deviations together


PaperRow = Mapping[str, PaperValue]  # by metric


@dataclass(frozen=True)
class PaperTable:
    """Table 1 or 2 of the paper."""

    number: int
    profile: str
    caption: str
    rows: Mapping[tuple[str, str], PaperRow]  # by data set and model


def paper_tables(datasets: Iterable[DatasetResults]) -> list[PaperTable]:
    """Return the paper's tables for each profile that has results on their data sets.

    Values of another profile stand beside the paper's without marks: they do not compare.
    """
    by_profile: dict[str, dict[str, DatasetResults]] = {}
    for results in datasets:
        by_profile.setdefault(results.profile, {})[results.dataset] = results
    return [
        _table(number, profile, by_dataset)
        for profile, by_dataset in by_profile.items()
        for number in (1, 2)
        if any(table.dataset in by_dataset for table in published() if table.number == number)
    ]


def _table(number: int, profile: str, by_dataset: Mapping[str, DatasetResults]) -> PaperTable:
    rows: dict[tuple[str, str], PaperRow] = {}
    parts = [f"Table {number} of the paper, and profile {profile} beside it."]
    if profile != paper.PROFILE:
        parts.append("This is not the paper's setting: the numbers do not compare.")
    for table in (table for table in published() if table.number == number):
        results = by_dataset.get(table.dataset)
        rows |= _rows(table, results)
        if results and profile == paper.PROFILE:
            parts += _notes(results)
    return PaperTable(number, profile, " ".join([*parts, LEGEND]), rows)


def _notes(results: DatasetResults) -> Iterator[str]:
    rows = [row for row in paper.ROWS if row in results.rows]
    notes = [
        note
        for row in rows
        for note in paper.departures(results, row) + paper.reservations(results, row)
    ]
    if notes:
        yield f"{paper.dataset_name(results.dataset)}: {'; '.join(dict.fromkeys(notes))}."


def _rows(
    table: Published, results: DatasetResults | None
) -> Iterator[tuple[tuple[str, str], PaperRow]]:
    own = results.rows if results else {}
    ours = {model: summaries(own.get(model, ())) for model in table.rows}
    comparable = results is not None and results.profile == paper.PROFILE
    best = {m: c.best_of(row.get(m) for row in ours.values()) for m, c in PAPER_COLUMNS.items()}
    for model, printed in table.rows.items():
        values = {}
        for metric, column in PAPER_COLUMNS.items():
            mine = ours[model].get(metric)
            values[metric] = PaperValue(
                paper=printed[metric],
                ours=mine,
                paper_best=table.lowest(metric) == model,
                best=mine is not None and column.shown(mine) == best[metric],
                differs=comparable
                and metric not in INCOMPARABLE
                and _differs(printed[metric], mine),
            )
        yield (table.dataset, model), values


def _differs(printed: Summary, ours: Summary | None) -> bool:
    """Return whether two means differ by more than both deviations; a single cell has none."""
    if ours is None or ours.sd is None or printed.sd is None:
        return False
    return abs(ours.mean - printed.mean) > ours.sd + printed.sd


@dataclass(frozen=True)
class _PrintedRow:
    """A row as it is printed: what the paper prints of a model, or what was measured here."""

    dataset: str
    model: str
    ours: bool
    values: PaperRow


def paper_table(table: PaperTable) -> Table:
    """Return a table of the paper: a row with its values of each model, then one with ours."""
    profile = re.sub("[^a-z0-9]+", "-", table.profile.lower())
    columns: list[Column[_PrintedRow]] = [
        Column("Data set", lambda r: paper.dataset_name(r.dataset), number=False, once=True),
        Column("Model", lambda r: paper.model_name(r.model), number=False, once=True),
        Column("", lambda r: "here" if r.ours else "paper", number=False, hint="source"),
        *(column.column(partial(_cell, column=column)) for column in PAPER_COLUMNS.values()),
    ]
    return Table.of(
        columns,
        [_PrintedRow(*key, ours, row) for key, row in table.rows.items() for ours in (False, True)],
        title=f"Table {table.number}, profile {table.profile}",
        caption=table.caption,
        label=f"paper-{table.number}-{profile}",
    )


def _cell(printed: _PrintedRow, *, column: MetricColumn) -> TableCell:
    value = printed.values[column.name]
    if not printed.ours:
        return column.cell(value.paper, best=value.paper_best)
    return column.cell(value.ours, best=value.best, suffix="†" if value.differs else "")


def paper_csv(tables: Sequence[PaperTable]) -> str:
    """Return the paper's values and ours at full precision, one line a metric, as CSV."""
    names = (
        *("table", "profile", "dataset", "model", "metric", "paper_mean", "paper_sd"),
        *("mean", "sd", "cells", "differs"),
    )
    lines = [
        (
            *(table.number, table.profile, *key, metric, *value.paper[:2]),
            *(value.ours or (None, None, 0)),
            int(value.differs),
        )
        for table in tables
        for key, row in table.rows.items()
        for metric, value in row.items()
    ]
    return to_csv(names, lines)
