"""Attempts at a cell, in this process or in another one, and the events that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.output_folder import BusyError
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
    """Another run in the same folder does the cell, which is left to it for now."""

    cell: Cell


class Done(NamedTuple):
    """A cell ended: with its result, or with an error in one line."""

    cell: Cell
    result: Result | None
    error: str = ""


Event = Started | Retried | Busy | Done


@dataclass(frozen=True)
class Attempt:
    """Does cells; plain data that can be sent to another process or machine.

    Args:
        options: Of the run.
        wait: Whether to wait for another run that does the cell.
    """

    options: RunOptions
    wait: bool = False

    def __call__(self, cell: Cell) -> Done | Busy:
        """Do a cell, and write its result, or why it failed.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        from benchmarks.jobs.experiment import run_experiment

        options = replace(self.options, device=resolve(self.options.device))
        with threads(options.threads_per_cell):
            try:
                return Done(cell, run_experiment(cell, options, wait=self.wait))
            except BusyError:
                return Busy(cell)
            except WriteError:
                raise
            except Exception as error:
                return Done(cell, None, f"{type(error).__name__}: {error}")


Executor = Callable[[Attempt, Sequence[Cell]], Iterator[Event]]


def serial(attempt: Attempt, cells: Sequence[Cell]) -> Iterator[Event]:
    """Do cells one after another in this process."""
    for cell in cells:
        yield Started(cell)
        yield attempt(cell)


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
    """Return the end of a cell whose process died every time."""
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
