"""What is done with a cell, in this process or in another one; all of it can be sent away."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.cells import Cell
from benchmarks.material import open_dataset
from benchmarks.place import Place
from benchmarks.results import Result, result_path, write_result
from probseg.files import WriteError
from probseg.interfaces import Dataset

ATTEMPTS = 3  # at a cell whose process dies


class Started(NamedTuple):
    """A cell begins."""

    cell: Cell


class Retried(NamedTuple):
    """The process of a cell died, and the cell is begun again."""

    cell: Cell


class Done(NamedTuple):
    """A cell ended: with its result, or with an error that is told in one line."""

    cell: Cell
    result: Result | None
    error: str = ""


Event = Started | Retried | Done


@dataclass(frozen=True)
class Work:
    """Does cells; plain data that can be sent to another process or machine.

    Args:
        place: Where to run and write.
        data_root: Folder of the data sets that are not embedded.
    """

    place: Place
    data_root: Path | None

    def __call__(self, cell: Cell) -> Done:
        """Do a cell, and write what came of it: its result, or why it failed.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        place = replace(self.place, device=_resolve(self.place.device))
        with threads(place.threads):
            try:
                dataset = open_dataset(cell.config["dataset"], self.data_root)
                return Done(cell, _run(cell, dataset, place))
            except WriteError:
                raise
            except Exception as error:
                return _failed(cell, place, error)


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


def _run(cell: Cell, dataset: Dataset, place: Place) -> Result:
    from benchmarks import job  # imports Lightning, which finished cells need not wait for

    return job.run(cell, dataset, place)


def _failed(cell: Cell, place: Place, error: Exception) -> Done:
    from benchmarks.job import blank

    failure = {**blank(cell, place), "error": "".join(traceback.format_exception(error))}
    write_result(result_path(cell, place.out), failure)
    return Done(cell, None, f"{type(error).__name__}: {error}")


def _resolve(device: str) -> str:
    if device != "auto":
        return device
    from probseg.training.precision import choose_execution
    from probseg.training.settings import TrainingSettings

    return str(choose_execution(TrainingSettings(device=device)).device)
