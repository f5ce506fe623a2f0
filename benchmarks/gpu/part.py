"""``python -m benchmarks.gpu.part NAME``: one part of a run, in a process of its own."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path


class PartOptions(argparse.Namespace):
    """What a part is told."""

    part: str
    out: Path
    seconds: float
    small: bool
    data_root: Path | None
    deadline: float  # of time.monotonic()

    @property
    def device(self) -> str:
        """Where to measure: on "cuda", or on the "cpu" in a rehearsal without a GPU."""
        import torch

        if torch.cuda.is_available():
            return "cuda"
        if self.small:
            return "cpu"
        raise SystemExit("torch sees no CUDA device here; --small rehearses on the CPU")

    @property
    def device_name(self) -> str:
        """Return the name of the card, or "cpu"."""
        import torch

        return torch.cuda.get_device_name() if self.device == "cuda" else self.device

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a part and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.part",
        description="One part of python -m benchmarks.gpu, which lists them and calls this.",
    )
    parser.add_argument("part", help="its name")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the run")
    parser.add_argument("--seconds", type=float, required=True, metavar="S", help="it may take")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="of LIDC")
    parser.add_argument("--small", action="store_true", help="a rehearsal on tiny sizes")
    options = parser.parse_args(arguments, PartOptions())
    options.deadline = time.monotonic() + options.seconds
    return import_module(f"benchmarks.gpu.{options.part}").run(options) or 0


if __name__ == "__main__":
    sys.exit(main())
