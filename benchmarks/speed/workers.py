"""Workloads, each in a process of its own that runs them on request."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from benchmarks.speed.timing import mean_seconds
from probseg.errors import ProbsegError

_STATUS = Path("/proc/self/status")


class Workload(ABC):
    """Something to be timed."""

    device = "cpu"  # whose work is waited for after a turn

    @abstractmethod
    def run(self) -> Any:
        """Do it once; work that was given to a device may go on after this returns."""

    def answer(self) -> Any:
        """Return what it computes as NumPy arrays or plain numbers, to compare with others."""
        return self.run()


class WorkloadError(ProbsegError):
    """A workload failed in its process; the message ends in its traceback."""


class NotInstalledError(WorkloadError):
    """Something that a workload needs is not installed; a workload may raise it with the remedy."""


class Worker:
    """A process for one workload, so that its memory and allocator are its own.

    Args:
        make: A function of a module that returns the workload.
        options: Its arguments.
        environment: Variables set in that process only.

    It prepares itself while others do; a context waits until it is ready, and ends it.
    """

    START = "spawn"  # inherits neither allocator nor threads

    def __init__(
        self,
        make: Callable[..., Workload],
        options: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        context: Any = multiprocessing.get_context(self.START)
        self._name = make.__qualname__
        self._here, there = context.Pipe()
        # not a daemon, which could not start the processes that packing and evaluation need
        self._process = context.Process(target=_serve, args=(there, make, dict(options)))
        with patch.dict(os.environ, environment or {}):
            self._process.start()
        there.close()

    def seconds(self, calls: int = 1) -> float:
        """Run the workload so many times and return the mean seconds of a run."""
        return float(self._ask("time", calls))

    def answer(self) -> Any:
        """Return what the workload computes."""
        return self._ask("answer")

    def memory(self) -> dict[str, float]:
        """Return the memory at its "peak" and at the "start", before the first run, in MB."""
        return dict(self._ask("memory"))

    def wait_until_ready(self) -> None:
        """Wait until the workload is made.

        Raises:
            NotInstalledError: It needs something that is not installed.
            WorkloadError: It cannot be made.
        """
        self._receive()

    def __enter__(self) -> Self:
        """Wait until the workload is made, and return itself."""
        self.wait_until_ready()
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, question: str, *arguments: Any) -> Any:
        self._here.send((question, arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, value = self._here.recv()
        except EOFError:
            self._process.join()
            status = self._process.exitcode
            raise WorkloadError(f"the process of {self._name} ended with {status}") from None
        if kind == "missing":
            raise NotInstalledError(value)
        if kind == "error":
            raise WorkloadError(f"{self._name} failed in its process\n{value}")
        return value


def _megabytes(who: int) -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss: bytes there, kB elsewhere
    return resource.getrusage(who).ru_maxrss / unit


def _status(name: str) -> float:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def _serve(connection: Connection, make: Callable[..., Workload], options: Any) -> None:
    try:
        workload = make(**options)
        start = _reset_peak()
        connection.send(("value", None))
        while True:
            question, arguments = connection.recv()
            if question == "time":
                value: Any = mean_seconds(workload.run, *arguments, device=workload.device)
            elif question == "answer":
                value = workload.answer()
            else:
                value = {"peak": _peak(), "start": start}
            connection.send(("value", value))
    except (EOFError, BrokenPipeError):
        return  # the parent closed the connection
    except NotInstalledError as error:
        connection.send(("missing", str(error)))
    except ModuleNotFoundError as error:
        connection.send(("missing", f"{error}; pip install 'probseg[peers]'"))
    except Exception:
        connection.send(("error", traceback.format_exc()))


def _reset_peak() -> float:
    """Start measuring the peak memory of this process, and return what it holds now, in MB."""
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()
        return float(cuda.memory_allocated() / 2**20)
    if not _STATUS.exists():
        return _megabytes(resource.RUSAGE_SELF)
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    return _status("VmRSS")


def _peak() -> float:
    """Return the most memory in MB that this process, or one that it waited for, held since."""
    if (cuda := _cuda()) is not None:
        return float(cuda.max_memory_allocated() / 2**20)
    # ru_maxrss would begin with the memory of the process that started this one
    own = _status("VmHWM") if _STATUS.exists() else _megabytes(resource.RUSAGE_SELF)
    return max(own, _megabytes(resource.RUSAGE_CHILDREN))


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
