"""Running a plan: finished cells kept, the others done as a schedule says, failed ones told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console

from benchmarks.execution.progress import Progress
from benchmarks.execution.work import Busy, Done, Event, Retried, Schedule, Started, Work
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.data import open_dataset
from benchmarks.jobs.results import Result, finished
from probseg.errors import ProbsegError
from probseg.interfaces import Dataset
from probseg.utils.atomic_files import WriteError


@dataclass
class Outcome:
    """What became of a plan."""

    finished: list[tuple[Cell, Result]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # label to error
    unavailable: dict[str, str] = field(default_factory=dict)  # data set to how to get it

    @property
    def status(self) -> int:
        """Exit status: 1 where a cell failed, or where nothing could run."""
        return int(bool(self.failed) or not self.finished)


@dataclass
class Runner:
    """Runs the cells of a plan that have no result yet.

    Args:
        work: What to do with a cell.
        schedule: In which process, and when.
        console: Where progress is told.
    """

    work: Work
    schedule: Schedule
    console: Console
    outcome: Outcome = field(default_factory=Outcome)
    _began: list[str] = field(default_factory=list)  # keys of the cells that began
    _busy: list[Cell] = field(default_factory=list)  # another run is at them

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Run the cells of each data set that is there; a failure of one stops no other.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        waiting = self._keep(cells)
        progress = Progress(self.console, self.work.place.out, waiting)
        with progress.shown():
            for event in self._events(waiting):
                self._note(event, cells, progress)
        place = {cell.key: number for number, cell in enumerate(cells)}
        self.outcome.finished.sort(key=lambda pair: place[pair[0].key])
        return self.outcome

    def _keep(self, cells: Sequence[Cell]) -> list[Cell]:
        """Take the results there are, and return the cells that have none but have their data."""
        waiting = []
        for name in dict.fromkeys(cell.dataset for cell in cells):
            of_dataset = [cell for cell in cells if cell.dataset == name]
            dataset = self._open(of_dataset[0])
            for cell in of_dataset if dataset is not None else ():
                kept = finished(cell, self.work.place.out, dataset.fingerprint)
                if kept is None:
                    waiting.append(cell)
                else:
                    self.console.print(f"{_place(cell, cells)}: kept", highlight=False)
                    self.outcome.finished.append((cell, kept))
        return waiting

    def _open(self, cell: Cell) -> Dataset | None:
        try:
            return open_dataset(cell.dataset, cell.dataset_options, root=self.work.data_root)
        except WriteError:
            raise
        except ProbsegError as error:
            self.outcome.unavailable[cell.dataset] = str(error)
            return None

    def _events(self, cells: Sequence[Cell]) -> Iterator[Event]:
        """Do the cells, and those that another run is at last; none sets no schedule up."""
        if cells:
            yield from self.schedule(self.work, cells)
        if self._busy:
            yield from self.schedule(replace(self.work, wait=True), self._busy)

    def _note(self, event: Event, cells: Sequence[Cell], progress: Progress) -> None:
        where = _place(event.cell, cells)
        if isinstance(event, Started):
            left = progress.left()
            progress.begin(event.cell)
            self._began.append(event.cell.key)
            told = f"[bold]{where}[/]" + (f" · {left}" if left else "")
            self.console.print(told, highlight=False)
        elif isinstance(event, Retried):
            told = f"{where}: its process died and is begun again"
            self.console.print(told, style="yellow", highlight=False)
        elif isinstance(event, Busy):
            progress.leave(event.cell)
            self._busy.append(event.cell)
            told = f"{where}: another run is at it: later"
            self.console.print(told, style="dim", highlight=False)
        else:
            progress.end(event.cell, failed=event.result is None)
            alone = self._began[-1] == event.cell.key  # its own line is the last one
            self._note_end(event, "    " if alone else f"{where}: ")

    def _note_end(self, done: Done, start: str) -> None:
        if done.result is None:
            self.outcome.failed[done.cell.label] = done.error
            told, style = f"{start}failed: {done.error}", "red"
        else:
            self.outcome.finished.append((done.cell, done.result))
            told, style = f"{start}{_summary(done.result)}", "dim"
        self.console.print(told, style=style, markup=False, highlight=False)


def _place(cell: Cell, cells: Sequence[Cell]) -> str:
    return f"[{cells.index(cell) + 1}/{len(cells)}] {cell.label}"


def _summary(result: Result) -> str:
    means, seconds = result.means["base"], result.timings.wall_s or 0.0
    shown = {"GED": "ged", "HM-IoU": "hungarian-iou", "diversity": "diversity", "Gini": "gini"}
    values = (f"{k} {means[v]:.3f}" for k, v in shown.items() if means.get(v) is not None)
    return f"{' · '.join(values)} · {seconds:.0f} s"
