"""Cells in several processes of this machine; one that dies loses only its own cell."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks.execution.attempts import ATTEMPTS, Attempt, Event, died
from benchmarks.jobs.cells import Cell

START = get_context("spawn")  # a fork would share the threads and the CUDA state of this process


def local_processes(
    attempt: Attempt, cells: Sequence[Cell], *, count: int, attempts: int = ATTEMPTS
) -> Iterator[Event]:
    """Do cells in several processes of this machine, on GPUs in turn where there are several.

    Args:
        attempt: What to do with each.
        cells: The cells.
        count: How many at once.
        attempts: At a cell whose process dies; its training goes on from its last validation round.
    """
    with _processes(attempt, min(count, len(cells))) as idle:
        waiting, tries = deque(cells), Counter[str]()
        running: dict[Future[Event], tuple[_Process, Cell]] = {}
        while waiting or running:
            while waiting and idle:
                process, cell = idle.pop(), waiting.popleft()
                tries[cell.key] += 1
                running[process.pool.submit(process.attempt, cell)] = process, cell
                if tries[cell.key] == 1:
                    yield Event("started", cell)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                process, cell = running.pop(future)
                idle.append(process)
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield future.result()
                    continue
                process.renew()
                if tries[cell.key] < attempts:
                    waiting.appendleft(cell)
                    yield Event("retried", cell)
                else:
                    yield died(cell, attempts)


@dataclass
class _Process:
    """A pool of one: when its process dies, no other one is harmed."""

    attempt: Attempt
    lifeline: Connection
    pool: ProcessPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Prepare a new process, which starts with its first cell."""
        self.pool = ProcessPoolExecutor(1, START, initializer=_begin, initargs=(self.lifeline,))


@contextmanager
def _processes(attempt: Attempt, count: int) -> Iterator[list[_Process]]:
    """Yield processes that end when the block, or this process, does."""
    lifeline, held = START.Pipe(duplex=False)
    processes = [_Process(_on_gpu(attempt, number), lifeline) for number in range(count)]
    everyone = list(processes)
    try:
        yield processes
    finally:
        held.close()
        for process in everyone:
            process.pool.shutdown(cancel_futures=True)
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
