"""Two runs side by side: rows of the same name, how they differ, and which settings do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis.experiments import Experiment
from benchmarks.reports.analysis.paired import BETTER, LEVEL, Comparison, holm, of_pair
from benchmarks.reports.stored import load
from benchmarks.reports.tables import COLUMNS, VARIANTS, Column, Summary
from benchmarks.suite.validation import ChoiceError

Which = tuple[str, str, str]  # profile, data set and row
_WHICH = ("row", "fold", "seed", "profile")  # parts of a config that say which cell it is


@dataclass(frozen=True)
class Run:
    """The finished results of a folder.

    Args:
        name: As it was given.
        cells: Row of its latest setting.
        remarks: What was left out, in words.
    """

    name: str
    cells: Mapping[Which, Sequence[Result]]
    remarks: Sequence[str]


@dataclass(frozen=True)
class Line:
    """One metric of one row in both runs."""

    profile: str
    dataset: str
    row: str
    column: Column
    first: Summary | None
    second: Summary | None
    paired: Comparison | None  # second − first, over the test images that both scored
    adjusted: float | None  # its p after Holm's correction over all lines

    @property
    def change(self) -> float | None:
        """What the second run has more than the first."""
        return self.second.mean - self.first.mean if self.first and self.second else None

    @property
    def outcome(self) -> str:
        """Whether the second run is "better" or "worse", where interval and p agree that one is."""
        if self.paired is None or self.adjusted is None or not self.column.best:
            return ""
        if not self.adjusted < LEVEL or not self.paired.low * self.paired.high > 0:
            return ""
        lower = self.paired.difference < 0
        return "better" if lower == (BETTER[self.column.metric] == "low") else "worse"


@dataclass(frozen=True)
class Setting:
    """A setting that differs, and in which rows."""

    name: str
    first: str
    second: str
    rows: Sequence[str]
    everywhere: bool  # in every row that both runs have


def read_run(folder: Path) -> Run:
    """Read the finished cells of a run, or of one that was exported.

    Raises:
        ResultError: None is finished, or two are the same row with other settings.
    """
    stored = load(folder)
    cells: dict[Which, list[Result]] = {}
    for cell, result in stored.finished:
        which = str(cell.config["profile"]), cell.dataset, cell.row
        cells.setdefault(which, []).append(result)
    return Run(str(folder), cells, [f"left out: {told}" for told in stored.refused])


def _settings(result: Result) -> dict[str, str]:
    """Return the config as dotted names and values, without what says which cell it is."""
    config = {key: value for key, value in result["config"].items() if key not in _WHICH}
    return dict(_flat(config))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)


def compare_runs(first: Run, second: Run) -> list[Line]:
    """Compare the rows that both runs have, metric by metric.

    Raises:
        ChoiceError: They share no row.
    """
    shared = [which for which in first.cells if which in second.cells]
    if not shared:
        mine, other = (", ".join(map(" · ".join, run.cells)) for run in (first, second))
        raise ChoiceError(f"the runs share no row: {first.name} has {mine}; {second.name} {other}")
    lines = [
        line for which in shared for line in _lines(which, first.cells[which], second.cells[which])
    ]
    return _corrected(lines)


def _lines(which: Which, first: Sequence[Result], second: Sequence[Result]) -> Iterator[Line]:
    profile, dataset, row = which
    same = {r["data"]["fingerprint"] for r in (*first, *second)}
    experiment = Experiment(profile, dataset, {"first": first, "second": second})
    for variant in first[0]["means"]:
        name = row + VARIANTS.get(variant, "")
        for column in COLUMNS:
            one, other = (_summary(cells, variant, column) for cells in (first, second))
            if one is None and other is None:
                continue
            paired = _paired(experiment, column.metric, variant) if len(same) == 1 else None
            yield Line(profile, dataset, name, column, one, other, paired, None)


def _summary(cells: Sequence[Result], variant: str, column: Column) -> Summary | None:
    means = [cell["means"].get(variant, {}).get(column.metric) for cell in cells]
    return Summary.of([mean for mean in means if mean is not None])


def _paired(experiment: Experiment, metric: str, variant: str) -> Comparison | None:
    sides = ("second", metric), ("first", metric)
    pair = experiment.paired(*sides, variants=(variant, variant))
    return of_pair(pair) if pair is not None else None


def _corrected(lines: Sequence[Line]) -> list[Line]:
    known = [line.paired.p for line in lines if line.paired]
    adjusted = iter(holm(known))
    return [replace(line, adjusted=next(adjusted)) if line.paired else line for line in lines]


def changed_settings(first: Run, second: Run) -> list[Setting]:
    """Return the settings and origins that differ between rows of the same name."""
    found: dict[tuple[str, str, str], list[str]] = {}
    shared = [which for which in first.cells if which in second.cells]
    for which in shared:
        one, other = (_described(run.cells[which]) for run in (first, second))
        for name in dict.fromkeys((*one, *other)):
            values = one.get(name, "–"), other.get(name, "–")
            if values[0] != values[1]:
                found.setdefault((name, *values), []).append(" · ".join(which[1:]))
    return [Setting(*what, rows, len(rows) == len(shared)) for what, rows in found.items()]


def _described(cells: Sequence[Result]) -> dict[str, str]:
    """Return settings, data, folds and origin of a row as names and values."""
    fits = {(r["config"]["fold"], r["config"]["seed"]) for r in cells}
    origin = {"data": cells[0]["data"], "origin": cells[0]["provenance"]}
    folds = {"folds and seeds": json.dumps(sorted(fits, key=str))}
    return {**_settings(cells[0]), **folds, **dict(_flat(origin))}
