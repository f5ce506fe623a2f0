"""The command in processes of its own, which start at once and can be killed at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from forks import forked

from benchmarks.run import main


class Moment(NamedTuple):
    """When a process kills itself, and how."""

    event: int  # number of the access to a file or folder of the run before which it happens
    seconds: float = 0.0  # and so long after
    signal: int = signal.SIGKILL


def start(arguments: list[str], out: Path, moment: Moment | None = None) -> BaseProcess:
    """Start ``benchmarks.run`` with some arguments, on the folder ``out``."""
    environment = dict(os.environ)  # the server's is that of the test which started it
    process = forked().Process(target=_run, args=(arguments, str(out), moment, environment))
    process.start()
    return process


def finish(arguments: list[str], out: Path, moment: Moment | None = None) -> int:
    """Run to the end, whichever comes, and return the exit code."""
    process = start(arguments, out, moment)
    process.join()
    return process.exitcode


def _run(
    arguments: list[str], out: str, moment: Moment | None, environment: dict[str, str]
) -> None:
    os.environ.update(environment)
    if moment is not None:
        _kill_at(moment, out)
    sys.exit(main([*arguments, "--out", out]))


def _kill_at(moment: Moment, out: str) -> None:
    """Count what Python audits: opening, renaming, making and removing, just before it happens."""
    left = moment.event

    def watch(event: str, arguments: tuple) -> None:
        nonlocal left
        touches = event == "open" or event.startswith(("os.", "shutil.", "tempfile."))
        if touches and any(str(argument).startswith(out) for argument in arguments):
            left -= 1
            if left == 0:
                _kill(moment)

    sys.addaudithook(watch)


def _kill(moment: Moment) -> None:
    if not moment.seconds:
        os.kill(os.getpid(), moment.signal)
        return
    timer = threading.Timer(moment.seconds, os.kill, (os.getpid(), moment.signal))
    timer.daemon = True
    timer.start()
