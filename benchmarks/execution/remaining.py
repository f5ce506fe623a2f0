"""What remains of a plan: the cells that are finished, can run, or lack their data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.data import dataset_of
from benchmarks.jobs.results import Result, finished_result
from probseg.errors import ProbsegError
from probseg.utils.atomic_files import WriteError


class Remaining(NamedTuple):
    """The cells of a plan by what is to do of them."""

    finished: dict[str, Result]  # by key
    to_run: list[Cell]
    unavailable: dict[str, ProbsegError]  # data set to why it cannot be opened


def find_remaining(cells: Iterable[Cell], options: RunOptions) -> Remaining:
    """Open every data set once, and look for the result of each cell on these data.

    Raises:
        WriteError: The cache of a data set cannot be written.
    """
    remaining = Remaining({}, [], {})
    for cell in cells:
        if cell.dataset in remaining.unavailable:
            continue
        try:
            dataset = dataset_of(cell, options.data_root)
        except WriteError:
            raise
        except ProbsegError as error:
            remaining.unavailable[cell.dataset] = error
            continue
        result = finished_result(cell, options.out, dataset.fingerprint)
        if result is None:
            remaining.to_run.append(cell)
        else:
            remaining.finished[cell.key] = result
    return remaining
