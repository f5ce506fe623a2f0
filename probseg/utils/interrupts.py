"""Deferring Ctrl-C and SIGTERM until a short block has ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM wait until the block ends; a second one acts at once.

    For short blocks. Python handles signals in the main thread alone: elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    # None: installed from C, which cannot be put back
    before = {int(number): old for number, old in handlers.items() if old is not None}

    def wait(number: int, _: FrameType | None) -> None:
        if waiting:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        waiting.append(number)

    try:
        for number in before:
            signal.signal(number, wait)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
