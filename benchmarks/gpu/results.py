"""The results of a part so far: one JSON file each, complete at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Nothing but Python is imported here: the kit is not installed yet when this is first read.


def read_results(out: Path, part: str) -> dict[str, Any]:
    """Return what a part wrote, or nothing."""
    try:
        values: dict[str, Any] = json.loads((out / f"{part}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values


class PartResults:
    """The results of a part, written to ``<part>.json`` whenever they change.

    Args:
        out: Folder of the run.
        part: Name of the part.
        keep: Go on from what an earlier run wrote.
        device: What is measured; results of another device are not kept.
    """

    def __init__(
        self, out: Path, part: str, *, keep: bool = True, device: str | None = None
    ) -> None:
        self.path = out / f"{part}.json"
        self.values = read_results(out, part) if keep else {}
        if device is not None and self.values.get("device") != device:
            self.values.clear()
            self["device"] = device

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a value and write the file."""
        self.values[key] = value
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        text = json.dumps(self.values, indent=1, ensure_ascii=False)
        scratch.write_text(text + "\n", encoding="utf-8")
        scratch.replace(self.path)

    def has(self, key: str) -> bool:
        """Return whether there is a value, and it is not an error."""
        return key in self.values and "error" not in self.values[key]
