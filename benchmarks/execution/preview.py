"""The plan of a run, without running it: what is kept, and what the rest will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.execution import pace
from benchmarks.execution.estimate import Measured
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.results import finished, result_path
from benchmarks.suite.definition import Profile

Estimates = Mapping[str, Measured | str]  # kind of cell to what it takes, or why nobody knows


def preview(
    cells: Sequence[Cell],
    profile: Profile,
    out: Path,
    *,
    width: int = 1,
    estimates: Estimates | None = None,
) -> int:
    """Show which cells there are, what is done of each and what it takes; return exit status 0.

    Args:
        cells: The plan.
        profile: Of all of them.
        out: Folder of the run.
        width: Cells at once.
        estimates: From measured steps; without them, times come from rounds that are kept.
    """
    known = _paces(cells, out, estimates or {})
    table = Table(title=f"profile {profile.name}: {profile.description}", title_justify="left")
    headings = ["data set", "row", "fold", "seed", "steps", "key", "state"]
    headings += ["at most"] * bool(known) + ["memory"] * bool(estimates)
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in ("data set", "row"), overflow="fold")
    for cell in cells:
        training = cell.training or {}
        numbers = (cell.fold, cell.seed, training.get("max_steps"))
        shown = ("–" if number is None else str(number) for number in numbers)
        row = [cell.dataset, cell.row, *shown, cell.key, state(cell, out)]
        row += [_time(cell, out, known)] * bool(known) + [_memory(cell, estimates or {})] * bool(
            estimates
        )
        table.add_row(*row)
    console = Console()
    console.print(table)
    _tell_sum(console, cells, out, known, width)
    for reason in dict.fromkeys(e for e in (estimates or {}).values() if isinstance(e, str)):
        console.print(f"no estimate: {reason}", style="yellow", markup=False, highlight=False)
    return 0


def _paces(cells: Sequence[Cell], out: Path, estimates: Estimates) -> dict[str, float]:
    """Return seconds a step of each kind, evaluation and validation spread over the steps."""
    measured = {
        pace.kind(cell): found.seconds / pace.max_steps(cell)
        for cell in cells
        if cell.trained and isinstance(found := estimates.get(pace.kind(cell)), Measured)
    }
    return {**measured, **pace.paces(cells, out)}


def _tell_sum(
    console: Console, cells: Sequence[Cell], out: Path, known: Mapping[str, float], width: int
) -> None:
    todo = [cell for cell in cells if state(cell, out) != "finished"]
    told = f"{len(cells)} cells in {out}, {len(todo)} to run"
    seconds = pace.seconds_left(todo, out, known, width=width)
    if seconds:
        at_once = f" by {width} at once" if width > 1 else ""
        told += f", at most {pace.duration(seconds)}{at_once}; early stopping ends sooner"
    console.print(told, highlight=False, markup=False, soft_wrap=True)


def _time(cell: Cell, out: Path, known: Mapping[str, float]) -> str:
    if not cell.trained or pace.kind(cell) not in known or state(cell, out) == "finished":
        return "–"
    return pace.duration(pace.steps_left(cell, out) * known[pace.kind(cell)])


def _memory(cell: Cell, estimates: Estimates) -> str:
    found = estimates.get(pace.kind(cell))
    return f"{found.memory / 2**30:.1f} GiB" if isinstance(found, Measured) else "–"


def state(cell: Cell, out: Path) -> str:
    """Say what is done of a cell: it is finished, failed, to resume or to run."""
    if finished(cell, out) is not None:
        return "finished"
    if result_path(cell, out).exists():
        return "failed"
    records = pace.rounds(cell, out)
    if records:
        return f"to resume at step {int(records[-1]['step'])}"
    return "to resume" if (cell.folder(out) / "training").exists() else "to run"
