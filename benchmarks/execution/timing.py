"""How long cells take, from the validation rounds that they, or others like them, have kept."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.jobs.cells import Cell

StepTimes = Mapping[str, float]  # kind of cell to seconds a step


def kind(cell: Cell) -> str:
    """Return what cells share that differ in nothing but fold and seed."""
    return replace(cell, fold=None, seed=None).key


def validation_rounds(cell: Cell, out: Path) -> list[dict[str, Any]]:
    """Return the records of a cell's validation rounds so far; none where none can be read."""
    path = cell.folder(out) / "training" / "history.json"
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return records if isinstance(records, list) else []


def max_steps(cell: Cell) -> int:
    """Return after how many steps a cell's training ends at the latest, 0 without training."""
    if cell.training is None:
        return 0
    if "max_steps" in cell.training:
        return int(cell.training["max_steps"])
    from probseg.training.settings import TrainingSettings  # imports torch

    return TrainingSettings.max_steps


def step_times(cells: Iterable[Cell], out: Path) -> dict[str, float]:
    """Return the seconds a step of each kind of cell that was trained a round, with validation."""
    seen: dict[str, list[float]] = {}
    for cell in cells:
        records = validation_rounds(cell, out)
        if cell.trained and records:
            last = records[-1]
            seen.setdefault(kind(cell), []).append(last["seconds"] / last["step"])
    return {name: statistics.fmean(values) for name, values in seen.items()}


def seconds_left(
    cells: Sequence[Cell], out: Path, times: StepTimes, *, at_once: int
) -> float | None:
    """Return how long cells will train if none stops early, or None where no step was timed.

    Args:
        cells: Those that are not done.
        out: Folder of the run.
        times: Seconds a step; a kind that has none counts as the mean of the others.
        at_once: Cells at the same time.
    """
    if not times:
        return None
    usual = statistics.fmean(times.values())
    each = [steps_left(cell, out) * times.get(kind(cell), usual) for cell in cells]
    return max([sum(each) / max(at_once, 1), *each], default=0.0)


def steps_left(cell: Cell, out: Path) -> int:
    """Return the steps until a cell's training ends at the latest."""
    records = validation_rounds(cell, out)
    return max(0, max_steps(cell) - int(records[-1]["step"])) if records else max_steps(cell)


def duration(seconds: float) -> str:
    """Return a time in one or two units.

    >>> duration(42), duration(660), duration(7500), duration(200_000)
    ('42 s', '11 min', '2 h 5 min', '2 days 7 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"
