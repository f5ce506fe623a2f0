"""What a topic is told: where, how thoroughly, and on which machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.speed.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where and how to measure."""

    machine: Machine
    device: str = "cpu"  # or "cuda"
    rounds: int = 7
    small: bool = False  # tiny sizes, to see that it works
    data_root: Path | None = None
    out: Path | None = None  # where pictures go
    watch: Callable[[str], None] = field(default=lambda text: None)

    def size(self, usual: int, small: int) -> int:
        """Return the usual size, or the small one where that is asked for."""
        return small if self.small else usual
