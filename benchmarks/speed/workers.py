"""Contestants, each in a process of its own, that run when they are told to."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from probseg.errors import ProbsegError

_STATUS = Path("/proc/self/status")


class Contestant(Protocol):
    """Something to be timed."""

    def run(self) -> Any:
        """Do it once, to the end: work on a device that goes on is waited for."""

    def answer(self) -> Any:
        """Return what it computes as NumPy arrays or plain numbers, to compare with others'."""


class ContestantError(ProbsegError):
    """A contestant failed in its process; the text ends in its traceback."""


class NotInstalledError(ContestantError):
    """What a contestant needs is not installed; it may raise this itself, with the remedy."""


class Worker:
    """A process in which one contestant lives, so that its memory and allocator are its own.

    Args:
        make: A function of a module that returns the contestant.
        options: Its arguments.
        environment: Variables set in that process only.
    """

    START = "spawn"  # nothing is inherited, allocator and threads neither

    def __init__(
        self,
        make: Callable[..., Contestant],
        options: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        context = multiprocessing.get_context(self.START)
        self._name = make.__qualname__
        self._here, there = context.Pipe()
        # no daemon, for those may not start the processes that packing or evaluating takes
        self._process = context.Process(target=_serve, args=(there, make, dict(options)))
        with _environment(environment or {}):
            self._process.start()
        there.close()
        self._receive()  # it is made, or says why not

    def seconds(self, calls: int = 1) -> float:
        """Run it so many times and return the mean time of a call."""
        return float(self._ask("time", calls))

    def answer(self) -> Any:
        """Return what it computes."""
        return self._ask("answer")

    def memory(self) -> dict[str, float]:
        """Return "peak" and "start" (once made, before the first call) in MB."""
        return dict(self._ask("memory"))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
            raise ContestantError(f"the process of {self._name} ended with {status}") from None
        if kind == "missing":
            raise NotInstalledError(value)
        if kind == "error":
            raise ContestantError(f"{self._name} failed in its process\n{value}")
        return value


def forget_peak() -> float:
    """Begin to watch this process's memory, and return what it holds now, in MB."""
    if not _STATUS.exists():
        return own_peak()
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    return _status("VmRSS")


def own_peak() -> float:
    """Return the most memory in MB that this process held since it was watched."""
    # ru_maxrss would begin with what the process held that started this one
    return _status("VmHWM") if _STATUS.exists() else _megabytes(resource.RUSAGE_SELF)


def largest_child() -> float:
    """Return the most memory in MB that a process held which this one ran and waited for."""
    return _megabytes(resource.RUSAGE_CHILDREN)


def _megabytes(who: int) -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss: bytes there, kB elsewhere
    return resource.getrusage(who).ru_maxrss / unit


def _status(name: str) -> float:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def _serve(connection: Connection, make: Callable[..., Contestant], options: Any) -> None:
    try:
        contestant = make(**options)
        before = _watch_memory()
        connection.send(("value", None))
        while True:
            question, arguments = connection.recv()
            if question == "time":
                value: Any = _time(contestant, *arguments)
            elif question == "answer":
                value = contestant.answer()
            else:
                value = {"peak": _peak(), "start": before}
            connection.send(("value", value))
    except EOFError:
        return  # the parent has heard enough
    except NotInstalledError as error:
        connection.send(("missing", str(error)))
    except ModuleNotFoundError as error:
        connection.send(("missing", f"{error}; pip install 'probseg[peers]'"))
    except Exception:
        connection.send(("error", traceback.format_exc()))


def _time(contestant: Contestant, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        contestant.run()
    return (time.perf_counter() - started) / calls


def _watch_memory() -> float:
    if _on_cuda():
        sys.modules["torch"].cuda.reset_peak_memory_stats()
        return float(sys.modules["torch"].cuda.memory_allocated() / 2**20)
    return forget_peak()


def _peak() -> float:
    if _on_cuda():
        return float(sys.modules["torch"].cuda.max_memory_allocated() / 2**20)
    return max(own_peak(), largest_child())


def _on_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
