"""Attempts at a cell, in this process or in another one, and the events that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.output_folder import BusyError
from benchmarks.jobs.results import Result
from probseg.utils.atomic_files import WriteError

ATTEMPTS = 3  # at a cell whose process dies


class Event(NamedTuple):
    """What happens to a cell.

    It is "started"; "retried" where its process died and it begins again; "busy" where another run
    in the same folder does it, to which it is left for now; or "ended", with its result or else
    with an error in one line.
    """

    kind: Literal["started", "retried", "busy", "ended"]
    cell: Cell
    result: Result | None = None
    error: str = ""


@dataclass(frozen=True)
class Attempt:
    """Does cells; plain data that can be sent to another process or machine.

    Args:
        options: Of the run.
        wait: Whether to wait for another run that does the cell.
    """

    options: RunOptions
    wait: bool = False

    def __call__(self, cell: Cell) -> Event:
        """Do a cell, and write its result, or why it failed.

        Raises:
            WriteError: The disk is full or read-only, which no other cell would survive.
        """
        from benchmarks.jobs.experiment import run_experiment

        options = replace(self.options, device=resolve(self.options.device))
        with threads(options.threads_per_cell):
            try:
                return Event("ended", cell, run_experiment(cell, options, wait=self.wait))
            except BusyError:
                return Event("busy", cell)
            except WriteError:
                raise
            except Exception as error:
                return Event("ended", cell, error=f"{type(error).__name__}: {error}")


Executor = Callable[[Attempt, Sequence[Cell]], Iterator[Event]]


def serial(attempt: Attempt, cells: Sequence[Cell]) -> Iterator[Event]:
    """Do cells one after another in this process."""
    for cell in cells:
        yield Event("started", cell)
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


def died(cell: Cell, attempts: int) -> Event:
    """Return the end of a cell whose process died every time."""
    reason = "killed, or out of memory; fewer cells at once leave each more"
    return Event("ended", cell, error=f"its process died {attempts} times: {reason}")


def resolve(device: str) -> str:
    """Return the device of this machine that "auto" means."""
    if device != "auto":
        return device
    from probseg.training.execution import choose_execution
    from probseg.training.settings import TrainingSettings

    return str(choose_execution(TrainingSettings(device=device)).device)
