"""The output folder of runs: locks of what one run does at a time, damaged files set aside."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from probseg.errors import ProbsegError
from probseg.utils.atomic_files import reporting

logger = logging.getLogger(__name__)

REPORT = "report"
POLL_SECONDS = 0.2


class BusyError(ProbsegError):
    """Another run holds what was asked for."""


@contextmanager
def held(name: str, out: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold ``name``, an experiment's key or the report, in the output folder ``out``.

    The operating system lets go of what a killed process held. The locks lie outside of the
    folders of the experiments, which may be renamed while they are held.

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


def set_aside(path: Path, reason: object) -> Path:
    """Rename a file or folder to the first free ``name-set-aside-1``, ``-2``, … and warn."""
    names = (path.with_name(f"{path.stem}-set-aside-{n}{path.suffix}") for n in count(1))
    target = next(name for name in names if not name.exists())
    path.replace(target)
    logger.warning("set aside as %s: %s", target, reason)
    return target
