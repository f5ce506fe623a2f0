"""Running a plan: cells one after another, finished ones kept, failed ones recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.cells import Cell
from benchmarks.locks import BusyError
from benchmarks.material import open_dataset
from benchmarks.place import Place
from benchmarks.results import Result, finished, result_path
from probseg.errors import ProbsegError
from probseg.files import WriteError
from probseg.interfaces import Dataset


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
    """Runs cells in this process.

    Args:
        place: Where to run and write.
        data_root: Folder of the data sets that are not embedded.
        console: Where progress is told.
    """

    place: Place
    data_root: Path | None
    console: Console
    outcome: Outcome = field(default_factory=Outcome)
    _seconds: list[float] = field(default_factory=list)  # of the trained cells so far
    _busy: list[tuple[Cell, Dataset]] = field(default_factory=list)  # another run is at them

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Run the cells of each data set that is there; a failure of one stops no other.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        for name in dict.fromkeys(cell.dataset for cell in cells):
            of_dataset = [cell for cell in cells if cell.dataset == name]
            dataset = self._open(of_dataset[0])
            for cell in of_dataset if dataset is not None else ():
                self._keep_or_run(cell, dataset, cells)
        for cell, dataset in self._busy:
            self._keep_or_run(cell, dataset, cells, wait=True)
        places = {cell.key: place for place, cell in enumerate(cells)}
        self.outcome.finished.sort(key=lambda done: places[done[0].key])
        return self.outcome

    def _open(self, cell: Cell) -> Dataset | None:
        try:
            return open_dataset(cell.config["dataset"], self.data_root)
        except WriteError:
            raise
        except ProbsegError as error:
            self.outcome.unavailable[cell.dataset] = str(error)
            return None

    def _keep_or_run(
        self, cell: Cell, dataset: Dataset, cells: Sequence[Cell], *, wait: bool = False
    ) -> None:
        where = f"[{cells.index(cell) + 1}/{len(cells)}] {cell.label}"
        kept = finished(cell, self.place.out, dataset.fingerprint)
        if kept is not None:
            self.console.print(f"{where}: kept", highlight=False)
            self.outcome.finished.append((cell, kept))
            return
        self.console.print(f"[bold]{where}[/]{self._eta(cell, cells)}", highlight=False)
        started = time.monotonic()
        try:
            self._run(cell, dataset, wait=wait)
        except BusyError:
            self._busy.append((cell, dataset))
            self.console.print("    another run is at it: later", style="dim", highlight=False)
            return
        if cell.trained:
            self._seconds.append(time.monotonic() - started)

    def _run(self, cell: Cell, dataset: Dataset, *, wait: bool) -> None:
        from benchmarks import job  # imports Lightning, which finished cells need not wait for

        try:
            result = job.run(cell, dataset, self.place, wait=wait)
        except (WriteError, BusyError):
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            self.outcome.failed[cell.label] = told
            self.console.print(f"    failed: {told}", style="red", markup=False, highlight=False)
            return
        self.outcome.finished.append((cell, result))
        self.console.print(f"    {_summary(result)}", style="dim", highlight=False)

    def _is_done(self, cell: Cell) -> bool:
        return result_path(cell, self.place.out).exists() or cell.label in self.outcome.failed

    def _eta(self, cell: Cell, cells: Sequence[Cell]) -> str:
        left = sum(other.trained and not self._is_done(other) for other in cells)
        if not self._seconds or not left:
            return ""
        minutes = left * sum(self._seconds) / len(self._seconds) / 60
        return f" · about {minutes:.0f} min left" if minutes >= 1 else " · under a minute left"


def _summary(result: Result) -> str:
    means, seconds = result["means"]["base"], result["timings"]["wall_s"]
    shown = {"GED": "ged", "HM-IoU": "hungarian-iou", "diversity": "diversity", "Gini": "gini"}
    values = (f"{k} {means[v]:.3f}" for k, v in shown.items() if means.get(v) is not None)
    return f"{' · '.join(values)} · {seconds:.0f} s"
