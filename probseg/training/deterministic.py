"""Computing the same twice, to the bit, on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic as memory


@contextmanager
def deterministic(device: torch.device | str) -> Iterator[None]:
    """Let a CPU compute by algorithms that do not depend on how its threads are scheduled.

    That covers repeated runs on one machine with one number of threads and the same versions of
    the libraries. Another device is left as it is: there some algorithms have no such variant.
    """
    if torch.device(device).type != "cpu":
        yield
        return
    before = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # what nobody reads need not be written
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        memory.fill_uninitialized_memory = before[1]
