"""The parts of a run and their results; ``python -m benchmarks.gpu.parts NAME`` runs one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

# Nothing but Python is imported here: the kit is not installed yet when this is first read.


@dataclass(frozen=True)
class Part:
    """Something to measure.

    Attributes:
        what: In words.
        run: ``module:function``, which takes :class:`PartOptions` and may return an exit status.
        seconds: What it takes at most of a run of eight minutes; None takes what is left.
        again: Whether it runs again where an earlier run finished it.
        needs_data: Whether it reads LIDC.
    """

    what: str
    run: str
    seconds: int | None
    again: bool = False
    needs_data: bool = False


# In the order in which they run.
PARTS = {
    "environment": Part(
        "the machine, its packages, what it computes and copies a second", "environment:run", 30
    ),
    "tests": Part("pytest -m gpu", "environment:run_tests", 90),
    "steps": Part(
        "training steps beside the textbook's: eager, CUDA graphs, compiled", "speed:run_steps", 110
    ),
    "sampling": Part("16 and 100 samples beside the textbook's", "speed:run_sampling", 35),
    "profile": Part("where a training step's time goes", "speed:run_profile", 40),
    "train": Part(
        "punet, 2p-planar and csae on LIDC, profile paper; quick beside it",
        "train:run",
        None,
        again=True,
        needs_data=True,
    ),
    "scores": Part(
        "GED16, GED100, Gini curves and pictures of what was trained",
        "scores:run",
        70,
        again=True,
        needs_data=True,
    ),
}
TOTAL = 8 * 60  # seconds of the run that those of the parts are for


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """The options of a part."""

    out: Path  # of the run
    deadline: float  # of time.monotonic()
    small: bool = False
    data_root: Path | None = None

    @property
    def device(self) -> str:
        """The device to measure: "cuda", or "cpu" in a rehearsal without a GPU."""
        import torch

        if torch.cuda.is_available():
            return "cuda"
        if self.small:
            return "cpu"
        raise SystemExit("torch sees no CUDA device here; --small rehearses on the CPU")

    @property
    def device_name(self) -> str:
        """The name of the card, or "cpu"."""
        import torch

        return torch.cuda.get_device_name() if self.device == "cuda" else self.device

    def seconds_left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.monotonic()


def read_results(out: Path, part: str) -> dict[str, Any]:
    """Return the results that a part wrote, or nothing."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a part and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.parts",
        description="One part of python -m benchmarks.gpu, which lists them and calls this.",
    )
    parser.add_argument("part", choices=PARTS, metavar="NAME")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the run")
    parser.add_argument("--seconds", type=float, required=True, metavar="S", help="it may take")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="of LIDC")
    parser.add_argument("--small", action="store_true", help="a rehearsal on tiny sizes")
    given = parser.parse_args(arguments)
    options = PartOptions(
        out=given.out,
        deadline=time.monotonic() + given.seconds,
        small=given.small,
        data_root=given.data_root,
    )
    module, _, function = PARTS[given.part].run.partition(":")
    return getattr(import_module(f"benchmarks.gpu.{module}"), function)(options) or 0


if __name__ == "__main__":
    sys.exit(main())
