"""What is done with a cell, in this process or in another one; all of it can be sent away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.execution.locks import BusyError
from benchmarks.execution.place import Place
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.data import open_dataset
from benchmarks.jobs.results import Result
from probseg.utils.atomic_files import WriteError

ATTEMPTS = 3  # at a cell whose process dies


class Started(NamedTuple):
    """A cell begins."""

    cell: Cell


class Retried(NamedTuple):
    """The process of a cell died, and the cell is begun again."""

    cell: Cell


class Busy(NamedTuple):
    """Another run in the same folder is at work on a cell, which is left to it for now."""

    cell: Cell


class Done(NamedTuple):
    """A cell ended: with its result, or with an error that is told in one line."""

    cell: Cell
    result: Result | None
    error: str = ""


Event = Started | Retried | Busy | Done


@dataclass(frozen=True)
class Work:
    """Does cells; plain data that can be sent to another process or machine.

    Args:
        place: Where to run and write.
        data_root: Folder of the data sets that are not embedded.
        wait: Whether to wait for another run that is at work on the cell.
    """

    place: Place
    data_root: Path | None
    wait: bool = False

    def __call__(self, cell: Cell) -> Done | Busy:
        """Do a cell, and write what came of it: its result, or why it failed.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        place = replace(self.place, device=resolve(self.place.device))
        with threads(place.threads):
            try:
                return Done(cell, self._run(cell, place))
            except BusyError:
                return Busy(cell)
            except WriteError:
                raise
            except Exception as error:
                return Done(cell, None, f"{type(error).__name__}: {error}")

    def _run(self, cell: Cell, place: Place) -> Result:
        from benchmarks.jobs import job

        dataset = open_dataset(cell.dataset, cell.dataset_options, root=self.data_root)
        return job.run(cell, dataset, place, wait=self.wait)


Schedule = Callable[[Work, Sequence[Cell]], Iterator[Event]]


def serial(work: Work, cells: Sequence[Cell]) -> Iterator[Event]:
    """Do cells one after another in this process."""
    for cell in cells:
        yield Started(cell)
        yield work(cell)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch compute with so many threads, where a number is given."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def died(cell: Cell, attempts: int) -> Done:
    """Return what is told of a cell whose process died every time."""
    return Done(
        cell,
        None,
        f"its process died {attempts} times: killed, or out of memory; "
        "fewer cells at once leave each more",
    )


def resolve(device: str) -> str:
    """Return the device of this machine that "auto" means."""
    if device != "auto":
        return device
    from probseg.training.execution import choose_execution
    from probseg.training.settings import TrainingSettings

    return str(choose_execution(TrainingSettings(device=device)).device)
