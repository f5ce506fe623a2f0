"""The plan of a run, without running it: the state of each cell, and what the rest will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.execution import timing
from benchmarks.execution.estimate import Estimate
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.results import finished_result, result_path
from benchmarks.suite.definition import Profile

Estimates = Mapping[str, Estimate | str]  # kind of cell to what it takes, or why that is unknown


def show_plan(
    cells: Sequence[Cell],
    profile: Profile,
    out: Path,
    *,
    at_once: int = 1,
    estimates: Estimates | None = None,
) -> None:
    """Print which cells there are, what is done of each and what it takes.

    Args:
        cells: The plan.
        profile: Of all of them.
        out: Folder of the run.
        at_once: Cells at the same time.
        estimates: From measured steps; without them, times come from validation rounds of the run.
    """
    times = _step_times(cells, out, estimates or {})
    table = Table(title=f"profile {profile.name}: {profile.description}", title_justify="left")
    headings = ["data set", "row", "fold", "seed", "steps", "key", "state"]
    headings += ["at most"] * bool(times) + ["memory"] * bool(estimates)
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in ("data set", "row"), overflow="fold")
    for cell in cells:
        row = _row(cell, out)
        row += [_time(cell, out, times)] if times else []
        row += [_memory(cell, estimates)] if estimates else []
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(
        _sum(cells, out, times, at_once=at_once), highlight=False, markup=False, soft_wrap=True
    )
    for reason in dict.fromkeys(e for e in (estimates or {}).values() if isinstance(e, str)):
        console.print(f"no estimate: {reason}", style="yellow", markup=False, highlight=False)


def _row(cell: Cell, out: Path) -> list[str]:
    numbers = (cell.fold, cell.seed, (cell.training or {}).get("max_steps"))
    shown = ("–" if number is None else str(number) for number in numbers)
    return [cell.dataset, cell.row, *shown, cell.key, state(cell, out)]


def _step_times(cells: Sequence[Cell], out: Path, estimates: Estimates) -> dict[str, float]:
    """Return seconds a step of each kind, evaluation and validation spread over the steps."""
    estimated = {
        timing.kind(cell): estimate.seconds / timing.max_steps(cell)
        for cell in cells
        if cell.trained and isinstance(estimate := estimates.get(timing.kind(cell)), Estimate)
    }
    return {**estimated, **timing.step_times(cells, out)}


def _sum(cells: Sequence[Cell], out: Path, times: Mapping[str, float], *, at_once: int) -> str:
    left = [cell for cell in cells if state(cell, out) != "finished"]
    text = f"{len(cells)} cells in {out}, {len(left)} to run"
    seconds = timing.seconds_left(left, out, times, at_once=at_once)
    if not seconds:
        return text
    by = f" by {at_once} at once" if at_once > 1 else ""
    return f"{text}, at most {timing.duration(seconds)}{by}; early stopping ends sooner"


def _time(cell: Cell, out: Path, times: Mapping[str, float]) -> str:
    if not cell.trained or timing.kind(cell) not in times or state(cell, out) == "finished":
        return "–"
    return timing.duration(timing.steps_left(cell, out) * times[timing.kind(cell)])


def _memory(cell: Cell, estimates: Estimates) -> str:
    estimate = estimates.get(timing.kind(cell))
    return f"{estimate.memory / 2**30:.1f} GiB" if isinstance(estimate, Estimate) else "–"


def state(cell: Cell, out: Path) -> str:
    """Return "finished", "failed", "to resume" or "to run"."""
    if finished_result(cell, out) is not None:
        return "finished"
    if result_path(cell, out).exists():
        return "failed"
    records = timing.validation_rounds(cell, out)
    if records:
        return f"to resume at step {int(records[-1]['step'])}"
    return "to resume" if (cell.folder(out) / "training").exists() else "to run"
