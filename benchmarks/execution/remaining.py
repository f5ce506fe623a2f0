"""What remains of a plan: the cells that are finished, can run, or lack their data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.data import dataset_of
from benchmarks.jobs.results import Result, finished_result
from probseg.errors import NotPackedError, ProbsegError
from probseg.utils.atomic_files import WriteError


class Remaining(NamedTuple):
    """The cells of a plan by what is to do of them."""

    finished: dict[str, Result]  # by key
    to_run: list[Cell]
    unavailable: dict[str, ProbsegError]  # data set to why it cannot be opened


def find_remaining(cells: Iterable[Cell], options: RunOptions, *, pack: bool = True) -> Remaining:
    """Open every data set once, and look for the result of each cell on these data.

    Unless data are to be packed, those that are not packed yet are taken to be sound.

    Raises:
        WriteError: The cache of a data set cannot be written.
    """
    cells, remaining = list(cells), Remaining({}, [], {})
    fingerprints: dict[str, str | None] = {}
    for name, cell in {cell.dataset: cell for cell in cells}.items():
        try:
            fingerprints[name] = dataset_of(cell, options.data_root, pack=pack).fingerprint
        except NotPackedError:
            fingerprints[name] = None
        except WriteError:
            raise
        except ProbsegError as error:
            remaining.unavailable[name] = error
    for cell in cells:
        if cell.dataset in fingerprints:
            result = finished_result(cell, options.out, fingerprints[cell.dataset])
            if result is None:
                remaining.to_run.append(cell)
            else:
                remaining.finished[cell.key] = result
    return remaining
