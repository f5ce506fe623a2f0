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

_STATUS = Path("/proc/self/status")


class Contestant(Protocol):
    """Something to be timed."""

    def run(self) -> Any:
        """Do it once, to the end: work on a device that goes on is waited for."""

    def answer(self) -> Any:
        """Return what it computes as NumPy arrays or plain numbers, to compare with others'."""


class ContestantError(Exception):
    """A contestant failed in its process; the text is its traceback."""


class NotInstalledError(ContestantError):
    """A contestant's package is not installed."""


class Worker:
    """A process in which one contestant lives, so that its memory and allocator are its own.

    Args:
        make: A function of a module that returns the contestant.
        options: Its arguments.
        environment: Variables set in that process only.
    """

    def __init__(
        self,
        make: Callable[..., Contestant],
        options: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(there, make, dict(options)), daemon=True
        )
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

    def memory(self) -> float:
        """Return how much more than once it was made its process held at most, in MB."""
        return float(self._ask("memory"))

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
            raise ContestantError(f"its process ended with {self._process.exitcode}") from None
        if kind == "missing":
            raise NotInstalledError(value)
        if kind == "error":
            raise ContestantError(value)
        return value


def forget_peak() -> float:
    """Begin to watch this process's memory, and return what it holds now, in MB."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
        return _status("VmRSS")
    return resident_peak()


def resident_peak() -> float:
    """Return the most memory that this process held since it was watched, in MB."""
    if _STATUS.exists():
        return _status("VmHWM")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss: bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


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
                value = _peak() - before
            connection.send(("value", value))
    except EOFError:
        return  # the parent has heard enough
    except ModuleNotFoundError as error:
        connection.send(("missing", str(error)))
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
    return resident_peak()


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
