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
            raise ContestantError(f"its process ended with {self._process.exitcode}") from None
        if kind == "missing":
            raise NotInstalledError(value)
        if kind == "error":
            raise ContestantError(value)
        return value


def resident_peak() -> float:
    """Return the most memory that this process ever held, in MB."""
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss: bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _serve(connection: Connection, make: Callable[..., Contestant], options: Any) -> None:
    try:
        contestant = make(**options)
        start = _memory()
        connection.send(("value", None))
        while True:
            question, arguments = connection.recv()
            if question == "time":
                value: Any = _time(contestant, *arguments)
            elif question == "answer":
                value = contestant.answer()
            else:
                value = {"peak": _memory(), "start": start}
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


def _memory() -> float:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return resident_peak()


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
