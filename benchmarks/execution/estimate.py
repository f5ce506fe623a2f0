"""What a cell will take: a few real steps on the real data, timed in a process of their own."""

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

from benchmarks.execution import pace
from benchmarks.jobs.cells import Cell

if TYPE_CHECKING:
    from benchmarks.execution.work import Work
    from benchmarks.jobs.data import Data
    from benchmarks.jobs.train import Trained
    from probseg.interfaces import Batch

# A loader is a batch ahead, and the first step is no measure of the others.
BATCHES = 6
UNSTEADY = 2
START = get_context("spawn")  # a fork would begin with the memory of this process


class Measured(NamedTuple):
    """What a cell takes if its training does not stop early."""

    seconds: float  # of all steps, validation rounds and the evaluation
    step: float  # seconds
    memory: int  # bytes at the peak: of its GPU, or else of its process


def measure_all(work: Work, cells: Iterable[Cell]) -> dict[str, Measured | str]:
    """Return what each kind of trained cell takes, or in one line why that is not known.

    Each is measured in a new process, whose memory is then its own.
    """
    kinds = {pace.kind(cell): cell for cell in cells if cell.trained}
    with ProcessPoolExecutor(1, START, max_tasks_per_child=1) as pool:
        return {kind: pool.submit(measure, work, cell).result() for kind, cell in kinds.items()}


def measure(work: Work, cell: Cell) -> Measured | str:
    """Train a cell for a few steps, answer a batch of its test images, and keep nothing."""
    from benchmarks.execution.work import resolve, threads
    from benchmarks.jobs.data import open_dataset, prepare
    from probseg.errors import ProbsegError

    try:
        dataset = open_dataset(cell.dataset, cell.dataset_options, root=work.data_root)
        data = prepare(dataset, cell.data_settings, cell.fold)
        work = replace(work, place=replace(work.place, device=resolve(work.place.device)))
        with threads(work.place.threads):
            return _measure(work, cell, data)
    except ProbsegError as error:
        return str(error).splitlines()[0]


def _measure(work: Work, cell: Cell, data: Data) -> Measured:
    from benchmarks.jobs.train import training_settings
    from probseg.datasets.views import Subset

    size = training_settings(cell, work.place).batch_size
    seen = range(min(BATCHES * size, len(data.validation)))
    train, validation = Clocked(data.train), Clocked(Subset(data.validation, seen))
    trained = _train(work, cell, train, validation)
    settings = trained.settings
    step = train.between()
    round_steps = settings.validate_every or -(-len(data.train) // settings.batch_size)
    rounds = -(-settings.max_steps // round_steps)
    batches = rounds * -(-len(data.validation) // settings.batch_size)
    # Too few validation batches to time are few enough to count as steps.
    validating = batches * validation.between(otherwise=step)
    seconds = settings.max_steps * step + validating + _evaluating(work, cell, data, trained)
    return Measured(seconds, step, peak_memory(work.place.device))


def _train(work: Work, cell: Cell, train: Clocked, validation: Clocked) -> Trained:
    from benchmarks.jobs.train import Trained, build_model, training_settings
    from probseg.training.fitting import fit

    settings = training_settings(cell, work.place)
    model = build_model(cell, train)
    few = replace(settings, max_steps=BATCHES, validate_every=BATCHES)
    return Trained(model, fit(model, train, validation, few, progress=False), settings)


def _evaluating(work: Work, cell: Cell, data: Data, trained: Trained) -> float:
    """Return the seconds of the whole evaluation, from those of its first batch."""
    from benchmarks.jobs.job import make_predictor
    from benchmarks.jobs.scoring import Scorer
    from probseg.datasets.views import Subset

    size = cell.evaluation_settings.evaluation_batch
    first = Subset(data.test, range(min(size, len(data.test))))
    predictor = make_predictor(cell, data, trained, work.place)
    started = time.monotonic()
    Scorer(predictor, batch=size).run(first)
    return (time.monotonic() - started) * len(data.test) / len(first)


@dataclass
class Clocked:
    """A data set that remembers when its batches were read.

    Args:
        dataset: What to read.
    """

    dataset: Any
    times: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """Return what the data set says of itself."""
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
