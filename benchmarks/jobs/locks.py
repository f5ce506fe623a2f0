"""Locks: of all runs in one output folder, one at a time does a cell or writes the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from probseg.errors import ProbsegError
from probseg.utils.atomic_files import reporting

REPORT = "report"
POLL_SECONDS = 0.2


class BusyError(ProbsegError):
    """Another run holds what was asked for."""


@contextmanager
def held(name: str, out: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold ``name``, a cell's key or the report, in the output folder ``out``.

    The operating system lets go of what a killed process held. The locks lie outside of the cells'
    folders, which may be renamed while they are held.

    Args:
        name: What to hold.
        out: Folder of a run.
        wait: Whether to wait until no other run holds it.

    Raises:
        BusyError: Another run holds it, and there was to be no waiting.
        WriteError: The folder cannot be written.
    """
    path = out / "cells" / ".locks" / f"{name}.lock"
    lock = FileLock(path, timeout=-1 if wait else 0, poll_interval=POLL_SECONDS)
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(f"another run in {out} is at work on {name}") from None
    try:
        yield
    finally:
        lock.release()
