"""How a run ends when it is asked to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM, by which schedulers and ``kill`` end a process, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # only there can it be caught
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt
