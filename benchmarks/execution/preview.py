"""The plan of a run, without running it: the state of each cell, and what the rest will take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import RunOptions
from benchmarks.execution.estimate import (
    Estimate,
    duration,
    kind,
    seconds_left,
    step_times,
    steps_left,
    validation_rounds,
)
from benchmarks.execution.progress import say
from benchmarks.jobs.cells import Cell, Plan
from benchmarks.jobs.results import finished_result, result_path


def show_plan(
    plan: Plan, options: RunOptions, estimates: Mapping[str, Estimate | str] | None = None
) -> None:
    """Print which cells there are, what is done of each and what it takes.

    Args:
        plan: The plan.
        options: Of the run.
        estimates: Kind of cell to what it takes, or why that is unknown; without them, times come
            from validation rounds of the run.
    """
    out, values = options.out, (estimates or {}).values()
    measured = {k: e for k, e in (estimates or {}).items() if isinstance(e, Estimate)}
    times = {k: e.step for k, e in measured.items()} | step_times(plan.cells, out)
    states = {cell.key: state(cell, out) for cell in plan.cells}
    title = f"profile {plan.profile.name}: {plan.profile.description}"
    table = Table(title=title, title_justify="left")
    headings = ["data set", "row", "fold", "seed", "steps", "key", "state"]
    headings += ["at most"] * bool(times) + ["memory"] * bool(estimates)
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in ("data set", "row"), overflow="fold")
    for cell in plan.cells:
        numbers = (cell.fold, cell.seed, (cell.training or {}).get("max_steps"))
        shown = ["–" if number is None else str(number) for number in numbers]
        row = [cell.dataset, cell.row, *shown, cell.key, states[cell.key]]
        if times:
            timed = kind(cell) in times and states[cell.key] != "finished"
            row.append(duration(steps_left(cell, out) * times[kind(cell)]) if timed else "–")
        if estimates:
            one = measured.get(kind(cell))
            row.append(f"{one.memory / 2**30:.1f} GiB" if one else "–")
        table.add_row(*row)
    console = Console()
    console.print(table)
    left = [cell for cell in plan.cells if states[cell.key] != "finished"]
    text = f"{len(plan.cells)} cells in {out}, {len(left)} to run"
    if seconds := seconds_left(left, out, times, at_once=options.workers):
        by = f" by {options.workers} at once" if options.workers > 1 else ""
        text += f", at most {duration(seconds)}{by}; early stopping ends sooner"
    say(console, text)
    for reason in dict.fromkeys(value for value in values if isinstance(value, str)):
        say(console, f"no estimate: {reason}", "yellow")


def state(cell: Cell, out: Path) -> str:
    """Return "finished", "failed", "to resume" or "to run"."""
    if finished_result(cell, out) is not None:
        return "finished"
    if result_path(cell, out).exists():
        return "failed"
    records = validation_rounds(cell, out)
    if records:
        return f"to resume at step {int(records[-1]['step'])}"
    return "to resume" if (cell.folder(out) / "training").exists() else "to run"
