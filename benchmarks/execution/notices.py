"""Warnings of the benchmark and of training, shown among the lines of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

LOGGERS = ("benchmarks", "probseg.training")


class ConsoleHandler(logging.Handler):
    """Prints each message on a console.

    Args:
        console: Where the run tells what it does.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message in one line, whatever the width of the terminal."""
        text = f"    {record.getMessage()}"
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def shown_on(console: Console) -> Iterator[None]:
    """Show warnings on ``console``."""
    handler = ConsoleHandler(console)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
