"""Lightning without its banners and hints, and with Ctrl-C as Python means it."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Warnings that a user can do nothing about.
_HINTS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 under torch 2.15
    r".*does not have many workers.*",  # batches are vectorised reads in this process
    r".*is smaller than the logging interval.*",  # everything is logged once a round
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence the banners and the hints that do not apply."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for hint in _HINTS:
                warnings.filterwarnings("ignore", message=hint)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def keyboard_interrupt_passed_on() -> Iterator[None]:
    """Let Ctrl-C come out as ``KeyboardInterrupt``.

    Lightning turns it into ``SystemExit`` and leaves the signal ignored from then on.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
