"""Where cells run and write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A folder for results, and what of a machine a cell may use.

    Args:
        out: Folder of everything that a run writes.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        devices: How many of them train a cell together, each a share of every batch.
        threads: Of the processor, a cell; sums of floats depend on their number. None is torch's.
    """

    out: Path
    device: str = "cpu"
    devices: int = 1
    threads: int | None = None
