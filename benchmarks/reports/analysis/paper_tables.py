"""The paper's Tables 1 and 2, each of its values with ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.reports.analysis import paper
from benchmarks.reports.analysis.dataset_results import DatasetResults
from benchmarks.reports.analysis.paper import Published, published
from benchmarks.reports.results_table import COLUMNS, Summary, summaries

# The columns of the paper's tables, all with three digits.
PAPER_COLUMNS = tuple(replace(c, digits=3) for c in COLUMNS if c.name in paper.PRINTED)
# The paper does not say how it normalises the cross-entropy, so only its order compares.
INCOMPARABLE = ("w-cross-entropy",)
LEGEND = (
    "Mean ± standard deviation over the cells (in the paper: three folds); bold: the best of the "
    "three models; † differs from the paper's value by more than the two standard deviations "
    "together. Cross-entropy is a mean over pixels here; the paper does not say what its is, so "
    "it has no mark."
)


@dataclass(frozen=True)
class PaperValue:
    """One value of the paper, and ours if there is one."""

    paper: Summary
    ours: Summary | None
    paper_best: bool  # the lowest of the data set's models, to the digits shown
    best: bool
    differs: bool  # by more than both deviations together


@dataclass(frozen=True)
class PaperRow:
    """One model on one data set."""

    dataset: str
    model: str
    values: Mapping[str, PaperValue]  # by metric


@dataclass(frozen=True)
class PaperTable:
    """Table 1 or 2 of the paper."""

    number: int
    profile: str
    caption: str
    rows: Sequence[PaperRow]


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
    tables = [table for table in published() if table.number == number]
    rows = [row for table in tables for row in _rows(table, by_dataset.get(table.dataset))]
    ran = [by_dataset[table.dataset] for table in tables if table.dataset in by_dataset]
    return PaperTable(number, profile, _caption(number, profile, ran), rows)


def _caption(number: int, profile: str, ran: Sequence[DatasetResults]) -> str:
    parts = [f"Table {number} of the paper, and profile {profile} beside it."]
    if profile != paper.PROFILE:
        parts.append("This is not the paper's setting: the numbers do not compare.")
    notes = dict.fromkeys(note for results in ran for note in _notes(results))
    return " ".join([*parts, *notes, LEGEND])


def _notes(results: DatasetResults) -> list[str]:
    if results.profile != paper.PROFILE:
        return []
    rows = [row for row in paper.ROWS if row in results.rows]
    notes = [
        note
        for row in rows
        for note in paper.departures(results, row) + paper.reservations(results, row)
    ]
    joined = "; ".join(dict.fromkeys(notes))
    return [f"{paper.dataset_name(results.dataset)}: {joined}."] if notes else []


def _rows(table: Published, results: DatasetResults | None) -> list[PaperRow]:
    own = results.rows if results else {}
    ours = {model: summaries(own.get(model, ())) for model in table.rows}
    comparable = results is not None and results.profile == paper.PROFILE
    best = {metric: _lowest(metric, ours.values()) for metric in paper.PRINTED}
    return [
        PaperRow(
            table.dataset,
            model,
            {
                metric: PaperValue(
                    paper=printed[metric],
                    ours=(mine := ours[model].get(metric)),
                    paper_best=table.lowest(metric) == model,
                    best=mine is not None and _shown(mine) == best[metric],
                    differs=comparable
                    and metric not in INCOMPARABLE
                    and _differs(printed[metric], mine),
                )
                for metric in paper.PRINTED
            },
        )
        for model, printed in table.rows.items()
    ]


def _lowest(metric: str, models: Iterable[Mapping[str, Summary]]) -> str | None:
    values = [model[metric] for model in models if metric in model]
    return _shown(min(values)) if len(values) > 1 else None


def _shown(value: Summary) -> str:
    return f"{value.mean:.3f}"


def _differs(printed: Summary, ours: Summary | None) -> bool:
    """Return whether two means differ by more than both deviations; a single cell has none."""
    if ours is None or ours.sd is None or printed.sd is None:
        return False
    return abs(ours.mean - printed.mean) > ours.sd + printed.sd
