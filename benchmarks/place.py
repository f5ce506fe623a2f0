"""Where cells run and write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A folder for results, and a machine's device.

    Args:
        out: Folder of everything that a run writes.
        device: "cpu", "cuda", "cuda:1" or "mps".
        progress: Whether training shows its bar.
    """

    out: Path
    device: str = "cpu"
    progress: bool = True
