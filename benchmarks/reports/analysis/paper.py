"""The paper's Tables 1 and 2, with its values beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.reports.analysis import words
from benchmarks.reports.analysis.experiments import Experiment
from benchmarks.reports.analysis.reference import NAMES, Published, published
from benchmarks.reports.analysis.setting import PROFILE, departures, reservations
from benchmarks.reports.tables import COLUMNS, Column, Summary

METRICS = tuple(column._replace(digits=3) for column in COLUMNS if column.metric in NAMES)
# The paper does not say how it normalises the cross-entropy, so only its order compares.
INCOMPARABLE = ("w-cross-entropy",)
LEGEND = (
    "Mean ± standard deviation over the cells (in the paper: three folds); bold: the best of the "
    "three models; † differs from the paper's value by more than the two standard deviations "
    "together. Cross-entropy is a mean over pixels here; the paper does not say what its is, so "
    "it has no mark."
)


@dataclass(frozen=True)
class Entry:
    """One value of the paper, and ours if there is one."""

    paper: Summary
    ours: Summary | None
    paper_best: bool  # the lowest of the data set's models, to the digits shown
    best: bool
    differs: bool  # by more than the two spreads together


@dataclass(frozen=True)
class PaperRow:
    """One model on one data set."""

    dataset: str
    model: str
    entries: Mapping[str, Entry]  # metric to values


@dataclass(frozen=True)
class PaperTable:
    """Table 1 or 2 of the paper."""

    number: int
    profile: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[PaperRow]


def paper_tables(experiments: Iterable[Experiment]) -> list[PaperTable]:
    """Return the paper's tables for each profile that has results on their data sets.

    Values of another profile stand beside the paper's without marks: they are another experiment.
    """
    by_profile: dict[str, dict[str, Experiment]] = {}
    for experiment in experiments:
        by_profile.setdefault(experiment.profile, {})[experiment.dataset] = experiment
    return [
        _table(number, profile, found)
        for profile, found in by_profile.items()
        for number in (1, 2)
        if any(table.dataset in found for table in published() if table.number == number)
    ]


def _table(number: int, profile: str, found: Mapping[str, Experiment]) -> PaperTable:
    tables = [table for table in published() if table.number == number]
    rows = [row for table in tables for row in _rows(table, found.get(table.dataset))]
    ran = [found[table.dataset] for table in tables if table.dataset in found]
    return PaperTable(number, profile, _caption(number, profile, ran), METRICS, rows)


def _caption(number: int, profile: str, ran: Sequence[Experiment]) -> str:
    parts = [f"Table {number} of the paper, and profile {profile} beside it."]
    if profile != PROFILE:
        parts.append("This is not the paper's setting: the numbers do not compare.")
    notes = dict.fromkeys(note for experiment in ran for note in _notes(experiment))
    return " ".join([*parts, *notes, LEGEND])


def _notes(experiment: Experiment) -> list[str]:
    if experiment.profile != PROFILE:
        return []
    rows = [row for row in words.PAPER_ROWS if row in experiment.rows]
    told = [n for row in rows for n in departures(experiment, row) + reservations(experiment, row)]
    joined = "; ".join(dict.fromkeys(told))
    return [f"{words.dataset(experiment.dataset)}: {joined}."] if told else []


def _rows(table: Published, experiment: Experiment | None) -> list[PaperRow]:
    ours = {row: _summaries(experiment, row) for row in table.rows}
    lowest = {m: _lowest([values[m] for values in ours.values() if m in values]) for m in NAMES}
    comparable = experiment is not None and experiment.profile == PROFILE
    rows = []
    for model, papers in table.rows.items():
        entries = {
            metric: Entry(
                paper=papers[metric],
                ours=(mine := ours[model].get(metric)),
                paper_best=table.lowest(metric) == model,
                best=mine is not None and _shown(mine) == lowest[metric],
                differs=comparable
                and metric not in INCOMPARABLE
                and _differs(papers[metric], mine),
            )
            for metric in NAMES
        }
        rows.append(PaperRow(table.dataset, model, entries))
    return rows


def _summaries(experiment: Experiment | None, row: str) -> dict[str, Summary]:
    cells = experiment.rows.get(row, ()) if experiment else ()
    means = [cell["means"]["base"] for cell in cells]
    values = {m: [v for cell in means if (v := cell.get(m)) is not None] for m in NAMES}
    return {m: summary for m in NAMES if (summary := Summary.of(values[m]))}


def _lowest(values: Sequence[Summary]) -> str | None:
    return _shown(min(values)) if len(values) > 1 else None


def _shown(value: Summary) -> str:
    return f"{value.mean:.3f}"


def _differs(paper: Summary, ours: Summary | None) -> bool:
    """Say whether two means lie further apart than their spreads; a lone cell's is unknown."""
    if ours is None or ours.sd is None or paper.sd is None:
        return False
    return abs(ours.mean - paper.mean) > ours.sd + paper.sd
