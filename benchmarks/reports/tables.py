"""Tables: mean and standard deviation over folds, for the terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.jobs.results import Result

# What a row is called that scores other samples than those of the model's own prior.
VARIANTS = {
    "projected": " (projected prior)",
    "noise": " (latents: N(0, 1))",
    "swapped": " (latents: another image's)",
}


class Column(NamedTuple):
    """A metric as a column of the table."""

    metric: str
    family: str
    kernel: str  # or what else tells members of a family apart
    best: str = ""  # "low", "high", or "" where neither is better
    digits: int = 3

    @property
    def title(self) -> str:
        """The whole heading, with an arrow to where it is better."""
        return " ".join(filter(None, (self.family, self.kernel, _ARROW[self.best])))

    @property
    def stacked(self) -> str:
        """The heading in two lines, for a narrow terminal."""
        return f"{self.family} {_ARROW[self.best]}\n{self.kernel}"


_ARROW = {"low": "↓", "high": "↑", "": ""}


COLUMNS = (
    Column("w-iou", "Ŵ", "1−IoU", "low"),
    Column("w-dice", "Ŵ", "1−Dice", "low"),
    Column("w-hausdorff", "Ŵ", "Hausd.", "low", 2),
    Column("w-cross-entropy", "Ŵ", "CE", "low"),
    Column("gini", "Gini", "σ", "low"),
    Column("ged", "GED", "", "low"),
    Column("hungarian-iou", "HM", "IoU", "high"),
    Column("diversity", "Diversity", ""),
)


class Summary(NamedTuple):
    """Mean over the cells of a row, and their sample standard deviation if there are several."""

    mean: float
    sd: float | None
    cells: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary | None:
        """Summarise the means of cells, or return nothing for none.

        >>> Summary.of([1.0, 3.0])
        Summary(mean=2.0, sd=1.4142135623730951, cells=2)
        """
        if not values:
            return None
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, len(values))

    def show(self, digits: int, *, joint: str = " ") -> str:
        """Return ``mean ± sd``, or the mean alone.

        >>> Summary(0.25, 0.0125, 3).show(3)
        '0.250 ± 0.013'
        """
        spread = "" if self.sd is None else f"{joint}± {self.sd:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class Row:
    """One model, variant of its prior, or baseline."""

    name: str
    competes: bool  # whether it may be marked as the best: a trained model, not a baseline
    values: Mapping[str, Summary]

    def cell(self, column: Column, *, joint: str = " ") -> str:
        """Return what stands under a column."""
        summary = self.values.get(column.metric)
        return summary.show(column.digits, joint=joint) if summary else "–"


@dataclass(frozen=True)
class Table:
    """What the rows scored on one data set, and what a reader must know about it."""

    dataset: str
    caption: str
    rows: Sequence[Row]
    notes: Mapping[str, str]  # row to what it is

    def best(self, column: Column) -> float | None:
        """Return the best mean of the competing rows under a column, if they compete there."""
        rows = [row for row in self.rows if row.competes and column.metric in row.values]
        if not column.best or len(rows) < 2:
            return None
        choose = min if column.best == "low" else max
        return choose(row.values[column.metric].mean for row in rows)

    def is_best(self, row: Row, column: Column) -> bool:
        """Say whether a row shows the best value under a column, to the digits that are shown."""
        best = self.best(column)
        if best is None or not row.competes or column.metric not in row.values:
            return False
        return f"{row.values[column.metric].mean:.{column.digits}f}" == f"{best:.{column.digits}f}"


def tabulate(
    results: Iterable[Result], *, competing: Iterable[str], notes: Mapping[str, str] | None = None
) -> list[Table]:
    """Return one table a data set, from finished results of one profile.

    Args:
        results: In the order of the rows.
        competing: The rows among which the best value is marked.
        notes: What each row is.
    """
    by_dataset: dict[str, list[Result]] = {}
    for result in results:
        by_dataset.setdefault(result["config"]["dataset"]["name"], []).append(result)
    competing, notes = set(competing), notes or {}
    return [
        Table(name, caption(found), _rows(found, competing), _notes(found, notes))
        for name, found in by_dataset.items()
    ]


def _notes(results: Sequence[Result], notes: Mapping[str, str]) -> dict[str, str]:
    names = dict.fromkeys(result["config"]["row"] for result in results)
    return {name: notes[name] for name in names if notes.get(name)}


def _rows(results: Sequence[Result], competing: set[str]) -> list[Row]:
    by_row: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        for variant in result["means"]:
            by_row.setdefault((result["config"]["row"], variant), []).append(result)
    return [
        Row(
            name + VARIANTS.get(variant, ""),
            name in competing and variant in ("base", "projected"),
            _summaries([result["means"][variant] for result in found]),
        )
        for (name, variant), found in by_row.items()
    ]


def _summaries(means: Sequence[Mapping[str, float | None]]) -> dict[str, Summary]:
    metrics = dict.fromkeys(metric for cell in means for metric in cell)
    values = {m: [v for cell in means if (v := cell.get(m)) is not None] for m in metrics}
    return {m: summary for m in metrics if (summary := Summary.of(values[m]))}


def caption(results: Sequence[Result]) -> str:
    """Say what the data are, how they were split, and what was run, in one paragraph."""
    trained = [r["config"] for r in results if r["config"]["model"] is not None]
    data = results[0]["data"]
    parts = [
        f"Data: {data['provenance'].rstrip('.')}.",
        f"Split {data['split']}; {data['test']} test images.",
        f"Profile {results[0]['config']['profile']}.",
    ]
    if trained:
        folds, seeds = (_listing(c[key] for c in trained) for key in ("fold", "seed"))
        parts.append(f"Folds {folds}; seeds {seeds}.")
    revisions = {_revision(r["provenance"]["git"]) for r in results}
    return " ".join([*parts, f"Code {', '.join(sorted(revisions))}."])


def _listing(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _revision(git: Mapping[str, object]) -> str:
    revision = str(git["revision"] or "unknown")[:9]
    return revision + (" with changes" if git["dirty"] else "")


def to_rich(table: Table) -> RichTable:
    """Return the table for a terminal, narrow enough for 80 columns."""
    shown = RichTable(
        title=table.dataset,
        caption=_terminal_caption(table),
        title_style="bold",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("", min_width=13)
    for column in COLUMNS:
        shown.add_column(column.stacked, justify="right", no_wrap=True)
    for row in table.rows:
        dim = "" if row.competes else "dim"
        cells = (
            Text(row.cell(c, joint="\n"), style="bold green" if table.is_best(row, c) else dim)
            for c in COLUMNS
        )
        shown.add_row(Text(row.name, style=dim), *cells)
    return shown


def _terminal_caption(table: Table) -> str:
    return "\n".join([table.caption, *(f"{n}: {note}." for n, note in table.notes.items())])


def to_markdown(tables: Iterable[Table]) -> str:
    """Return all tables as one Markdown document; the best of the trained models are bold."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def _markdown(table: Table) -> str:
    lines = [["", *(column.title for column in COLUMNS)], ["---", *("---:" for _ in COLUMNS)]]
    for row in table.rows:
        cells = ((row.cell(column), table.is_best(row, column)) for column in COLUMNS)
        lines.append([row.name, *(f"**{text}**" if best else text for text, best in cells)])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "".join(f"\n- {name}: {note}." for name, note in table.notes.items())
    return "\n\n".join(filter(None, (f"## {table.dataset}", table.caption, body, notes.strip())))


def to_csv(tables: Iterable[Table]) -> str:
    """Return all tables as CSV at full precision, one line a row and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "row", "metric", "mean", "sd", "cells"])
    for table in tables:
        for row in table.rows:
            for metric, summary in row.values.items():
                sd = "" if summary.sd is None else repr(summary.sd)
                line = [table.dataset, row.name, metric, repr(summary.mean), sd, summary.cells]
                writer.writerow(line)
    return text.getvalue()
