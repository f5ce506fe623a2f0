"""What a part of a run has found so far: one JSON file each, whole at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Nothing but Python is imported here: the kit is not installed yet when this is first read.


def read_state(out: Path, part: str) -> dict[str, Any]:
    """Return what a part wrote, or nothing."""
    try:
        state: dict[str, Any] = json.loads((out / f"{part}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state


class State:
    """What a part found, written to ``<part>.json`` whenever it changes.

    Args:
        out: Folder of the run.
        part: Name of the part.
        keep: Go on from what an earlier run wrote.
        device: What is measured; what was measured on another one is not kept.
    """

    def __init__(
        self, out: Path, part: str, *, keep: bool = True, device: str | None = None
    ) -> None:
        self.path = out / f"{part}.json"
        self.values: dict[str, Any] = read_state(out, part) if keep else {}
        if device is not None and self.values.get("device") != device:
            self.values = {}
            self["device"] = device

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a value and write the file."""
        self.values[key] = value
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        text = json.dumps(self.values, indent=1, ensure_ascii=False)
        scratch.write_text(text + "\n", encoding="utf-8")
        scratch.replace(self.path)

    def has(self, key: str) -> bool:
        """Return whether a value is there that is no error's."""
        return key in self.values and "error" not in self.values[key]
