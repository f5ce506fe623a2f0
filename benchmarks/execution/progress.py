"""The progress of a run in the terminal: cells done and running, the time left, warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks.execution import estimate
from benchmarks.jobs.cells import Cell

SHOWN = 12  # running cells; a cluster may have hundreds
LOGGERS = ("benchmarks", "probseg.training")


class Progress:
    """The state of every cell, shown at the foot of a terminal.

    Training itself is read from the folders of the cells, to which every process that trains one
    writes its validation rounds; those of a machine that shares no disk show when they end.

    Args:
        console: Where to show it; nothing moves where the output is no terminal.
        out: Folder of the run.
        cells: All that are to do.
    """

    def __init__(self, console: Console, out: Path, cells: Sequence[Cell]) -> None:
        self.console, self.out, self.cells = console, out, cells
        self.started: dict[str, float] = {}  # key of a running cell to when it began
        self.done: set[str] = set()
        self.failed: set[str] = set()

    def shown(self) -> AbstractContextManager[object]:
        """Show the progress as long as the context lasts."""
        if not self.console.is_terminal:
            return nullcontext()
        get = self.__rich__
        return Live(console=self.console, get_renderable=get, refresh_per_second=1, transient=True)

    def begin(self, cell: Cell) -> None:
        """Record that a cell runs."""
        self.started[cell.key] = time.monotonic()

    def leave(self, cell: Cell) -> None:
        """Record that a cell waits again."""
        self.started.pop(cell.key, None)

    def end(self, cell: Cell, *, failed: bool) -> None:
        """Record that a cell ended."""
        self.leave(cell)
        (self.failed if failed else self.done).add(cell.key)

    def left(self) -> str:
        """Return the time until all cells have ended, or nothing where no step was timed."""
        waiting = [cell for cell in self.cells if cell.key not in self.done | self.failed]
        times = estimate.step_times(self.cells, self.out)
        seconds = estimate.seconds_left(waiting, self.out, times, at_once=len(self.started))
        return f"at most {estimate.duration(seconds)} left" if seconds else ""

    def __rich__(self) -> RenderableType:
        """Return the line of the run above one of each running cell."""
        running = [cell for cell in self.cells if cell.key in self.started]
        groups = {"done": self.done, "failed": self.failed, "running": self.started}
        counts = [f"{len(keys)} {name}" for name, keys in groups.items() if keys]
        waiting = len(self.cells) - sum(map(len, groups.values()))
        text = f"{len(self.cells)} cells: {', '.join([*counts, f'{waiting} waiting'])}"
        grid = Table.grid(padding=(0, 2))
        for cell in running[:SHOWN]:
            grid.add_row(*self._row(cell))
        return Group(Text(" · ".join(filter(None, [text, self.left()])), style="bold"), grid)

    def _row(self, cell: Cell) -> tuple[RenderableType, ...]:
        elapsed = estimate.duration(time.monotonic() - self.started[cell.key])
        if not cell.trained:
            return cell.label, "", "", elapsed
        records, most = estimate.validation_rounds(cell, self.out), estimate.max_steps(cell)
        step = int(records[-1]["step"]) if records else 0
        bar = ProgressBar(total=most, completed=step, width=20)
        loss = f", validation {records[-1]['validation/loss']:.4g}" if records else ""
        return cell.label, bar, f"step {step}/{most}, round {len(records)}{loss}", elapsed


def say(console: Console, text: str | Text, style: str = "") -> None:
    """Print a line as it is, whatever the width of the terminal."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Prints each warning on a console."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        say(self.console, f"    {record.getMessage()}", "yellow")


@contextmanager
def warnings_on(console: Console) -> Iterator[None]:
    """Show the warnings of the benchmark and of training on ``console``."""
    handler = _ConsoleHandler(console)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
