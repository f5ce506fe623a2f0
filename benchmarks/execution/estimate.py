"""Estimates: a few real steps of a cell on its real data, timed in a process of their own."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.execution.timing import kind
from benchmarks.jobs.cells import Cell

if TYPE_CHECKING:
    from benchmarks.arguments import RunOptions
    from benchmarks.jobs.data import Data
    from benchmarks.jobs.experiment import Trained
    from probseg.interfaces import Batch

# A loader is a batch ahead, and the first step is no measure of the others.
BATCHES = 6
UNSTEADY = 2
START = get_context("spawn")  # a fork would begin with the memory of this process


class Estimate(NamedTuple):
    """What a cell takes if its training does not stop early."""

    seconds: float  # of all steps, validation rounds and the evaluation
    step: float  # seconds
    memory: int  # bytes at the peak: of its GPU, or else of its process


def estimate_all(options: RunOptions, cells: Iterable[Cell]) -> dict[str, Estimate | str]:
    """Return what each kind of trained cell takes, or in one line why that is unknown.

    Each is measured in a new process, whose memory is then its own.
    """
    kinds = {kind(cell): cell for cell in cells if cell.trained}
    with ProcessPoolExecutor(1, START, max_tasks_per_child=1) as pool:
        return {k: pool.submit(estimate, options, cell).result() for k, cell in kinds.items()}


def estimate(options: RunOptions, cell: Cell) -> Estimate | str:
    """Train a cell for a few steps, predict a batch of its test images, and keep nothing."""
    from benchmarks.execution.attempts import resolve, threads
    from benchmarks.jobs.data import dataset_of, prepare
    from probseg.errors import ProbsegError

    try:
        dataset = dataset_of(cell, options.data_root)
        data = prepare(dataset, cell.data_settings, cell.fold)
        options = replace(options, device=resolve(options.device))
        with threads(options.threads_per_cell):
            return _estimate(options, cell, data)
    except ProbsegError as error:
        return str(error).splitlines()[0]


def _estimate(options: RunOptions, cell: Cell, data: Data) -> Estimate:
    from benchmarks.jobs.experiment import training_settings
    from probseg.datasets.views import Subset

    size = training_settings(cell, options).batch_size
    seen = range(min(BATCHES * size, len(data.validation)))
    train, validation = Clocked(data.train), Clocked(Subset(data.validation, seen))
    trained = _train(options, cell, train, validation)
    settings = trained.settings
    step = train.between()
    round_steps = settings.validate_every or -(-len(data.train) // settings.batch_size)
    rounds = -(-settings.max_steps // round_steps)
    batches = rounds * -(-len(data.validation) // settings.batch_size)
    # Too few validation batches to time are few enough to count as steps.
    validating = batches * validation.between(otherwise=step)
    seconds = settings.max_steps * step + validating + _evaluating(cell, data, trained)
    return Estimate(seconds, step, peak_memory(options.device))


def _train(options: RunOptions, cell: Cell, train: Clocked, validation: Clocked) -> Trained:
    from benchmarks.jobs.experiment import Trained, build_model, training_settings
    from probseg.training.fitting import fit

    settings = training_settings(cell, options)
    model = build_model(cell, train)
    few = replace(settings, max_steps=BATCHES, validate_every=BATCHES)
    return Trained(model, fit(model, train, validation, few, progress=False), settings)


def _evaluating(cell: Cell, data: Data, trained: Trained) -> float:
    """Return the seconds of the evaluation, from those of its first batch."""
    from benchmarks.jobs.experiment import make_predictor
    from benchmarks.jobs.scoring import Scorer
    from probseg.datasets.views import Subset

    size = cell.evaluation_settings.evaluation_batch
    first = Subset(data.test, range(min(size, len(data.test))))
    predictor = make_predictor(cell, data, trained)
    started = time.monotonic()
    Scorer(predictor, batch=size).run(first)
    return (time.monotonic() - started) * len(data.test) / len(first)


@dataclass
class Clocked:
    """A data set that records when its batches were read.

    Args:
        dataset: What to read.
    """

    dataset: Any
    times: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the data set."""
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Read a batch and note the time."""
        self.times.append(time.monotonic())
        batch: Batch = self.dataset.__getitems__(indices)
        return batch

    def between(self, otherwise: float = 0.0) -> float:
        """Return the usual seconds from one batch to the next, once they come steadily."""
        apart = [after - before for before, after in pairwise(self.times)][UNSTEADY:]
        return statistics.median(apart) if apart else otherwise


def peak_memory(device: str) -> int:
    """Return the bytes that were in use at the most: on a GPU, or by this process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # of getrusage
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
