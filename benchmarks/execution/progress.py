"""The view of a run: how many cells are done, where each running one is, when all will end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks.execution import pace
from benchmarks.jobs.cells import Cell

SHOWN = 12  # running cells; a cluster may have hundreds


class Progress:
    """Knows what became of each cell, and shows it at the foot of a terminal.

    Training itself is read from the folders of the cells, to which every process that trains one
    writes its rounds; those of a machine that shares no disk show when they end.

    Args:
        console: Where to show it; nothing moves where the output is no terminal.
        out: Folder of the run.
        cells: All that are to do.
    """

    def __init__(self, console: Console, out: Path, cells: Sequence[Cell]) -> None:
        self.console, self.out, self.cells = console, out, cells
        self.since: dict[str, float] = {}  # key of a running cell to when it began
        self.done: set[str] = set()
        self.failed: set[str] = set()

    def shown(self) -> AbstractContextManager[object]:
        """Show the view as long as the context lasts."""
        if not self.console.is_terminal:
            return nullcontext()
        get = self.__rich__
        return Live(console=self.console, get_renderable=get, refresh_per_second=1, transient=True)

    def begin(self, cell: Cell) -> None:
        """Note that a cell runs."""
        self.since[cell.key] = time.monotonic()

    def leave(self, cell: Cell) -> None:
        """Note that a cell waits again."""
        self.since.pop(cell.key, None)

    def end(self, cell: Cell, *, failed: bool) -> None:
        """Note that a cell ended."""
        self.leave(cell)
        (self.failed if failed else self.done).add(cell.key)

    def left(self) -> str:
        """Return when all will have ended, as far as anything is known; else nothing."""
        waiting = [cell for cell in self.cells if cell.key not in self.done | self.failed]
        known = pace.paces(self.cells, self.out)
        seconds = pace.seconds_left(waiting, self.out, known, width=len(self.since))
        return f"at most {pace.duration(seconds)} left" if seconds else ""

    def __rich__(self) -> RenderableType:
        """Return the line of the whole run above one of each running cell."""
        running = [cell for cell in self.cells if cell.key in self.since]
        counts = {"done": self.done, "failed": self.failed, "running": self.since}
        told = [f"{len(those)} {name}" for name, those in counts.items() if those]
        waiting = len(self.cells) - sum(map(len, counts.values()))
        parts = [f"{len(self.cells)} cells: {', '.join([*told, f'{waiting} waiting'])}"]
        whole = Text(" · ".join(filter(None, [*parts, self.left()])), style="bold")
        grid = Table.grid(padding=(0, 2))
        for cell in running[:SHOWN]:
            grid.add_row(*self._row(cell))
        return Group(whole, grid)

    def _row(self, cell: Cell) -> tuple[RenderableType, ...]:
        records, most = pace.rounds(cell, self.out), pace.max_steps(cell)
        step = int(records[-1]["step"]) if records else 0
        elapsed = pace.duration(time.monotonic() - self.since[cell.key])
        if not cell.trained:
            return cell.label, "", "", elapsed
        bar = ProgressBar(total=most, completed=step, width=20)
        loss = f", validation {records[-1]['validation/loss']:.4g}" if records else ""
        return cell.label, bar, f"step {step}/{most}, round {len(records)}{loss}", elapsed
