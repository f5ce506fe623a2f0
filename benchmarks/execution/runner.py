"""Running the cells of a plan: finished ones are kept, the others done, failures reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from benchmarks.arguments import RunOptions
from benchmarks.execution.attempts import Attempt, Busy, Done, Event, Executor, Retried, Started
from benchmarks.execution.progress import Progress
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.data import dataset_of
from benchmarks.jobs.results import Result, finished_result
from probseg.errors import ProbsegError
from probseg.interfaces import Dataset
from probseg.utils.atomic_files import WriteError


@dataclass(frozen=True)
class Outcome:
    """The results of a plan, and what went wrong."""

    finished: list[Result] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # label of a cell to its error
    unavailable: dict[str, str] = field(default_factory=dict)  # data set to how to get it

    @property
    def status(self) -> int:
        """Exit status: 1 where a cell failed, or where nothing could run."""
        return int(bool(self.failed) or not self.finished)


@dataclass(frozen=True)
class Runner:
    """Runs the cells of a plan that have no result yet.

    Args:
        options: Of the run.
        executor: What does the cells, in this process or in others.
        console: Where progress is shown.
    """

    options: RunOptions
    executor: Executor
    console: Console
    outcome: Outcome = field(default_factory=Outcome)
    _started: list[str] = field(default_factory=list)  # keys, in order
    _busy: list[Cell] = field(default_factory=list)  # which another run does

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Run the cells of each data set that is there; a failure of one stops no other.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        waiting = self._without_results(cells)
        progress = Progress(self.console, self.options.out, waiting)
        with progress.shown():
            for event in self._events(waiting):
                self._record(event, cells, progress)
        order = {cell.key: index for index, cell in enumerate(cells)}
        self.outcome.finished.sort(key=lambda result: order[result.key])
        return self.outcome

    def _without_results(self, cells: Sequence[Cell]) -> list[Cell]:
        """Keep the results there are, and return the other cells whose data are there."""
        waiting = []
        for name in dict.fromkeys(cell.dataset for cell in cells):
            of_dataset = [cell for cell in cells if cell.dataset == name]
            dataset = self._open(of_dataset[0])
            if dataset is None:
                continue
            for cell in of_dataset:
                kept = finished_result(cell, self.options.out, dataset.fingerprint)
                if kept is None:
                    waiting.append(cell)
                else:
                    self.console.print(f"{_number(cell, cells)}: kept", highlight=False)
                    self.outcome.finished.append(kept)
        return waiting

    def _open(self, cell: Cell) -> Dataset | None:
        try:
            return dataset_of(cell, self.options.data_root)
        except WriteError:
            raise
        except ProbsegError as error:
            self.outcome.unavailable[cell.dataset] = str(error)
            return None

    def _events(self, cells: Sequence[Cell]) -> Iterator[Event]:
        """Do the cells, and at last those that another run did meanwhile."""
        if cells:
            yield from self.executor(Attempt(self.options), cells)
        if self._busy:
            yield from self.executor(Attempt(self.options, wait=True), self._busy)

    def _record(self, event: Event, cells: Sequence[Cell], progress: Progress) -> None:
        name = _number(event.cell, cells)
        if isinstance(event, Started):
            left = progress.left()
            progress.begin(event.cell)
            self._started.append(event.cell.key)
            line = f"[bold]{name}[/]" + (f" · {left}" if left else "")
            self.console.print(line, highlight=False)
        elif isinstance(event, Retried):
            line = f"{name}: its process died and is begun again"
            self.console.print(line, style="yellow", highlight=False)
        elif isinstance(event, Busy):
            progress.leave(event.cell)
            self._busy.append(event.cell)
            self.console.print(f"{name}: another run does it: later", style="dim", highlight=False)
        else:
            progress.end(event.cell, failed=event.result is None)
            is_last_line = self._started[-1] == event.cell.key  # where its name stands
            self._record_end(event, "    " if is_last_line else f"{name}: ")

    def _record_end(self, done: Done, start: str) -> None:
        if done.result is None:
            self.outcome.failed[done.cell.label] = done.error
            line, style = f"{start}failed: {done.error}", "red"
        else:
            self.outcome.finished.append(done.result)
            line, style = f"{start}{_summary(done.result)}", "dim"
        self.console.print(line, style=style, markup=False, highlight=False)


def _number(cell: Cell, cells: Sequence[Cell]) -> str:
    return f"[{cells.index(cell) + 1}/{len(cells)}] {cell.label}"


def _summary(result: Result) -> str:
    means, seconds = result.means["base"], result.timings.wall_s or 0.0
    shown = {"GED": "ged", "HM-IoU": "hungarian-iou", "diversity": "diversity", "Gini": "gini"}
    values = (f"{k} {v:.3f}" for k, metric in shown.items() if (v := means.get(metric)) is not None)
    return f"{' · '.join(values)} · {seconds:.0f} s"
