"""Grids: tables as the page shows them, each field with its text and what it sorts by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.reports.tables import COLUMNS, Column, Row, Table

MISSING = "–"
_MEANINGS = {
    "w-iou": "Wasserstein distance between the samples and the annotations, kernel 1 − IoU",
    "w-dice": "Wasserstein distance between the samples and the annotations, kernel 1 − Dice",
    "w-hausdorff": "Wasserstein distance, kernel Hausdorff distance in pixels",
    "w-cross-entropy": "Wasserstein distance, kernel cross-entropy",
    "gini": "Gini index of the prior's standard deviations: 0 where every dimension is used alike",
    "ged": "generalised energy distance between the samples and the annotations, squared",
    "hungarian-iou": "IoU of the samples and annotations after the best one-to-one matching",
    "diversity": "expected distance between two samples; compare with the annotators'",
}


@dataclass(frozen=True)
class Head:
    """The heading of a column."""

    title: str
    hint: str = ""  # what it means, in one sentence
    number: bool = True


@dataclass(frozen=True)
class Field:
    """One entry of a table."""

    text: str
    sort: float | str | None = None  # nothing sorts last
    mark: str = ""  # "best", "better" or "worse"
    note: str = ""  # below the text


@dataclass(frozen=True)
class Grid:
    """A table; the first field of a row is its heading."""

    name: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Field]]
    caption: str = ""
    notes: Sequence[str] = ()


def of_table(table: Table) -> Grid:
    """Return what the rows scored on one data set, without the columns that are empty."""
    columns = [c for c in COLUMNS if any(c.metric in row.values for row in table.rows)]
    return Grid(
        name=table.dataset,
        caption=table.caption,
        heads=[Head("model", number=False), *(Head(c.title, _MEANINGS[c.metric]) for c in columns)],
        rows=[
            [Field(row.name, row.name), *(_field(table, row, c) for c in columns)]
            for row in table.rows
        ],
        notes=[f"{name}: {note}." for name, note in table.notes.items()],
    )


def _field(table: Table, row: Row, column: Column) -> Field:
    summary = row.values.get(column.metric)
    if summary is None:
        return Field(MISSING)
    mark = "best" if table.is_best(row, column) else ""
    return Field(row.cell(column), summary.mean, mark)
