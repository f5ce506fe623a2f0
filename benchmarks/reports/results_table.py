"""The results table: mean and standard deviation over folds and seeds, one table a data set."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.results import Result
from benchmarks.reports.dataset_results import (
    ANNOTATORS_DIVERSITY,
    DatasetResults,
    by_dataset,
    scored_as,
)
from probseg.reports.tables import MISSING, Best, Column, Table, TableCell, to_csv

Record = TypeVar("Record")


@dataclass(frozen=True)
class MetricColumn:
    """A metric as a column of tables."""

    name: str  # in results
    title: str  # the heading: the family of metrics, then the kernel
    best: Best = ""  # whether low or high values are better, if either is
    digits: int = 3  # after the decimal point
    hint: str = ""  # what it means, in one sentence

    def column(self, cell: Callable[[Record], TableCell]) -> Column[Record]:
        """Return the column of a table whose records ``cell`` reads."""
        return Column(self.title, cell, best=self.best, hint=self.hint)

    def cell(self, summary: Summary | None, *, best: bool = False, suffix: str = "") -> TableCell:
        """Return the cell that shows a summary, marked if it is the best."""
        if summary is None:
            return TableCell(MISSING)
        return TableCell(summary.show(self.digits), summary.mean, "best" if best else "", suffix)

    def shown(self, summary: Summary) -> str:
        """Return the mean to the digits shown."""
        return f"{summary.mean:.{self.digits}f}"

    def best_of(self, summaries: Iterable[Summary | None]) -> str | None:
        """Return the best mean to the digits shown, or None where fewer than two compete."""
        means = sorted((one for one in summaries if one), key=lambda one: one.mean)
        if not self.best or len(means) < 2:
            return None
        return self.shown(means[0 if self.best == "low" else -1])


_DISTANCE = "Wasserstein distance between the samples and the annotations, kernel"

# The columns of the table: a new one is a new line here.
COLUMNS = (
    MetricColumn("w-iou", "Ŵ 1−IoU", "low", 3, f"{_DISTANCE} 1 − IoU"),
    MetricColumn("w-dice", "Ŵ 1−Dice", "low", 3, f"{_DISTANCE} 1 − Dice"),
    MetricColumn("w-hausdorff", "Ŵ Hausd.", "low", 2, f"{_DISTANCE} Hausdorff distance in pixels"),
    MetricColumn("w-cross-entropy", "Ŵ CE", "low", 3, f"{_DISTANCE} cross-entropy"),
    MetricColumn(
        "gini",
        "Gini σ",
        "",
        3,
        "Gini index of the prior's σ; 0: all alike, which is not the same as good",
    ),
    MetricColumn("ged", "GED", "low", 3, "generalised energy distance, squared"),
    MetricColumn(
        "hungarian-iou", "HM IoU", "high", 3, "IoU of samples and annotations, best pairs"
    ),
    MetricColumn(
        "diversity",
        "Diversity",
        hint="expected distance between two samples of an image; good near that of the annotators, "
        "which is over all of them",
    ),
)

ONE_ANNOTATOR = "An image has one annotator, which says nothing of how annotators differ."

# What is added to a row's name where other samples than those of the model's own prior are scored.
VARIANTS = {
    "projected": " (projected prior)",
    "stratified": " (stratified samples)",
    "noise": " (latents: N(0, 1))",
    "swapped": " (latents: another image's)",
}


class Summary(NamedTuple):
    """Mean over the cells of a row, and their sample standard deviation if there are several."""

    mean: float
    sd: float | None
    cells: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Summary | None:
        """Summarise the means of cells; None is undefined and left out.

        >>> Summary.of([1.0, None, 3.0])
        Summary(mean=2.0, sd=1.4142135623730951, cells=2)
        """
        defined = [value for value in values if value is not None]
        if not defined:
            return None
        sd = statistics.stdev(defined) if len(defined) > 1 else None
        return cls(statistics.fmean(defined), sd, len(defined))

    def show(self, digits: int) -> str:
        """Return ``mean ± sd``, or the mean alone.

        >>> Summary(0.25, 0.0125, 3).show(3)
        '0.250 ± 0.013'
        """
        deviation = "" if self.sd is None else f" ± {self.sd:.{digits}f}"
        return f"{self.mean:.{digits}f}{deviation}"


@dataclass(frozen=True)
class Row:
    """One model, variant of its prior, or baseline."""

    name: str
    competes: bool  # whether it may be marked as the best: a trained model, not a baseline
    values: Mapping[str, Summary]  # by metric


@dataclass(frozen=True)
class DatasetScores:
    """What the rows scored on one data set."""

    dataset: str
    caption: str  # the data, their split and what was run
    rows: Sequence[Row]  # in the order of the table
    notes: Mapping[str, str]  # row to its description


def summarise(
    results: Iterable[Result], *, competing: Iterable[str], notes: Mapping[str, str] | None = None
) -> list[DatasetScores]:
    """Summarise finished results of one profile, in the order of the rows, by data set."""
    competing, notes = set(competing), notes or {}
    return [
        DatasetScores(
            one.dataset,
            caption([result for row in one.rows.values() for result in row]),
            list(_rows(one, competing)),
            {row: notes[row] for row in one.rows if notes.get(row)},
        )
        for one in by_dataset(results)
    ]


def _rows(results: DatasetResults, competing: set[str]) -> Iterator[Row]:
    for name, own in results.rows.items():
        for variant in dict.fromkeys(variant for result in own for variant in result.means):
            competes = name in competing and variant in ("base", "projected")
            yield Row(name + VARIANTS.get(variant, ""), competes, summaries(own, variant))


def summaries(results: Sequence[Result], variant: str = "base") -> dict[str, Summary]:
    """Return metric to its summary over cells, without metrics that no cell defines."""
    means = [(result, result.means.get(variant, {})) for result in results]
    metrics = dict.fromkeys(metric for _, cell in means for metric in cell)
    found = {
        metric: Summary.of(cell.get(scored_as(metric, result)) for result, cell in means)
        for metric in metrics
    }
    return {metric: summary for metric, summary in found.items() if summary}


def caption(results: Sequence[Result]) -> str:
    """Return the data, their split and what was run, in one paragraph."""
    data = results[0].tested_on
    trained = [result.experiment for result in results if result.experiment.trained]
    spread = annotators_diversity(results)
    folds, seeds = _listing(c.fold for c in trained), _listing(c.seed for c in trained)
    parts = [
        f"Data: {data.provenance.rstrip('.')}.",
        f"Split {data.split}; {data.test} test images.",
        *([f"Diversity of the annotators {spread:.3f}."] if spread is not None else []),
        *([ONE_ANNOTATOR] if data.annotators == 1 else []),
        f"Profile {results[0].experiment.profile}.",
        *([f"Folds {folds}; seeds {seeds}."] if trained else []),
        *different_settings(trained),
        f"Code {', '.join(sorted({_revision(result) for result in results}))}.",
    ]
    return " ".join(parts)


def different_settings(experiments: Iterable[Experiment]) -> Iterator[str]:
    """Yield a sentence for each setting of data or training in which rows are not alike.

    That is so in a suite that asks for it, and where runs are reported together. The interval of
    validation follows the number of steps and is left out.
    """
    settings = [(one.row, {**one.data, **(one.training or {})}) for one in experiments]
    for name in dict.fromkeys(name for _, own in settings for name in own):
        values: dict[str, dict[str, None]] = {}
        for row, own in settings:
            values.setdefault(str(own.get(name, "default")), {})[row] = None
        *few, most = sorted(values, key=lambda value: len(values[value]))
        if few and name != "validate_every":
            each = (f"{value} ({', '.join(values[value])})" for value in few)
            yield f"Different {name}: {'; '.join(each)}; {most} (the others)."


def annotators_diversity(results: Iterable[Result]) -> float | None:
    """Return how much all annotators differ, the yardstick of the samples' diversity.

    Every result has it, but that of a baseline that is compared with a part of them.
    """
    compared = (r.means for r in results if r.experiment.baseline != "one-annotator")
    values = (means.get("base", {}).get(ANNOTATORS_DIVERSITY) for means in compared)
    return next((value for value in values if value is not None), None)


def _listing(values: Iterable[int | None]) -> str:
    return ", ".join(map(str, sorted({value for value in values if value is not None})))


def _revision(result: Result) -> str:
    git = result.provenance.git
    return (git.revision or "unknown")[:9] + (" with changes" if git.dirty else "")


def results_table(scores: DatasetScores) -> Table:
    """Return the table of one data set, with the best of the competing rows marked."""
    return Table.of(
        [
            Column("", lambda row: row.name, number=False, hint="model"),
            *(_metric_column(metric, scores.rows) for metric in COLUMNS),
        ],
        scores.rows,
        title=scores.dataset,
        caption=scores.caption,
        notes=[f"{name}: {note}." for name, note in scores.notes.items()],
    )


def _metric_column(metric: MetricColumn, rows: Iterable[Row]) -> Column[Row]:
    best = metric.best_of(row.values.get(metric.name) for row in rows if row.competes)

    def cell(row: Row) -> TableCell:
        summary = row.values.get(metric.name)
        is_best = summary is not None and row.competes and metric.shown(summary) == best
        return metric.cell(summary, best=is_best)

    return metric.column(cell)


def values_csv(scores: Iterable[DatasetScores]) -> str:
    """Return every value at full precision, one line a row and metric, as CSV."""
    lines = [
        (one.dataset, row.name, metric, *summary)
        for one in scores
        for row in one.rows
        for metric, summary in row.values.items()
    ]
    return to_csv(("dataset", "row", "metric", "mean", "sd", "cells"), lines)
