"""Attempts at experiments, and the events that they report, in this process or in several."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import ProcessPoolExecutor as Pool
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Literal, NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.jobs.output_folder import BusyError
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.results import Result
from probseg.utils.atomic_files import WriteError

START = get_context("spawn")  # a fork would share the threads and the CUDA state of this process
ATTEMPTS = 3  # at an experiment whose process dies
DIED = "its process died {} times: killed, or out of memory; fewer at once leave each more"


class Event(NamedTuple):
    """What happens to an experiment.

    It is begun again where its process died, and left for now where another run in the same folder
    does it. At its end there is a result, or else an error in one line.
    """

    kind: Literal["started", "retried", "busy", "ended"]
    experiment: Experiment
    result: Result | None = None
    error: str = ""


@dataclass(frozen=True)
class Attempt:
    """Does experiments; plain data that can be sent to another process or machine."""

    options: RunOptions
    wait: bool = False  # for another run that does the experiment

    def __call__(self, experiment: Experiment) -> Event:
        """Do an experiment, and write its result, or why it failed.

        Raises:
            WriteError: The disk is full or read-only, which no other experiment would survive.
        """
        from benchmarks.jobs.experiment import run_experiment
        from probseg.training.execution import choose_execution
        from probseg.training.settings import TrainingSettings

        with threads(self.options.threads_per_experiment):
            try:
                here = choose_execution(TrainingSettings(device=self.options.device)).device
                options = replace(self.options, device=str(here))
                result = run_experiment(experiment, options, wait=self.wait)
                return Event("ended", experiment, result)
            except BusyError:
                return Event("busy", experiment)
            except WriteError:
                raise
            except Exception as error:
                return Event("ended", experiment, error=f"{type(error).__name__}: {error}")


Executor = Callable[[Attempt, Sequence[Experiment]], Iterator[Event]]


def serial(attempt: Attempt, experiments: Sequence[Experiment]) -> Iterator[Event]:
    """Do experiments one after another in this process."""
    for experiment in experiments:
        yield Event("started", experiment)
        yield attempt(experiment)


def local_processes(
    attempt: Attempt, experiments: Sequence[Experiment], *, count: int, attempts: int = ATTEMPTS
) -> Iterator[Event]:
    """Do experiments in several processes of this machine, on GPUs in turn where there are several.

    One that dies loses its own experiment only, whose training goes on from its last round.
    """
    count = min(count, len(experiments))
    with pools(count) as (workers, start):
        idle, waiting, tries = list(range(count)), deque(experiments), Counter[str]()
        running: dict[Future[Event], tuple[int, Experiment]] = {}
        while waiting or running:
            while waiting and idle:
                number, experiment = idle.pop(), waiting.popleft()
                tries[experiment.key] += 1
                future = workers[number].submit(_on_gpu(attempt, number), experiment)
                running[future] = number, experiment
                if tries[experiment.key] == 1:
                    yield Event("started", experiment)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, experiment = running.pop(future)
                idle.append(number)
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield future.result()
                    continue
                workers[number] = start()
                if tries[experiment.key] < attempts:
                    waiting.appendleft(experiment)
                    yield Event("retried", experiment)
                else:
                    yield Event("ended", experiment, error=DIED.format(attempts))


@contextmanager
def pools(count: int) -> Iterator[tuple[list[Pool], Callable[[], Pool]]]:
    """Yield pools of one, and what starts another; they end when the block or this process does."""
    lifeline, held = START.Pipe(duplex=False)
    start = partial(Pool, 1, START, initializer=_begin, initargs=(lifeline,))
    started = [start() for _ in range(count)]
    try:
        yield started, start
    finally:
        held.close()
        for pool in started:
            pool.shutdown(cancel_futures=True)
        lifeline.close()


def _on_gpu(attempt: Attempt, number: int) -> Attempt:
    if attempt.options.device != "cuda":
        return attempt
    import torch

    gpu = number % torch.cuda.device_count()
    return replace(attempt, options=replace(attempt.options, device=f"cuda:{gpu}"))


def _begin(lifeline: Connection) -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)  # returns at the end of the file: the other end closed, whatever closed it
    os._exit(1)


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
