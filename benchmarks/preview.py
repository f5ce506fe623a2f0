"""The plan of a run, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cells import Cell
from benchmarks.results import finished, result_path
from benchmarks.suite import Profile


def preview(cells: Sequence[Cell], profile: Profile, out: Path) -> int:
    """Show which cells there are and what is done of each; return exit status 0."""
    table = Table(title=f"profile {profile.name}: {profile.description}", title_justify="left")
    for heading in ("data set", "row", "fold", "seed", "steps", "key", "state"):
        table.add_column(heading, no_wrap=heading == "state")
    for cell in cells:
        config, training = cell.config, cell.config["training"] or {}
        numbers = (config["fold"], config["seed"], training.get("max_steps"))
        shown = ("–" if number is None else str(number) for number in numbers)
        table.add_row(cell.dataset, cell.row, *shown, cell.key, state(cell, out))
    console = Console()
    console.print(table)
    todo = sum(state(cell, out) != "finished" for cell in cells)
    console.print(f"{len(cells)} cells in {out}, {todo} to run", highlight=False, markup=False)
    return 0


def state(cell: Cell, out: Path) -> str:
    """Say what is done of a cell: it is finished, failed, to resume or to run."""
    if finished(cell, out) is not None:
        return "finished"
    if result_path(cell, out).exists():
        return "failed"
    return "to resume" if (cell.folder(out) / "training").exists() else "to run"
