"""Workloads of a few lines, which processes of their own can import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.workers import NotInstalledError, Workload


class Toy(Workload):
    """Writes its name into a file whenever it runs."""

    def __init__(self, *, name: str = "", log: Path | None = None, value: float = 1.0) -> None:
        self.name, self.log, self.value = name, log, value

    def run(self) -> None:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{self.name}\n")

    def answer(self) -> Any:
        return self.value


class Broken(Toy):
    def run(self) -> None:
        raise ValueError("out of cheese")


class Dead(Toy):
    def run(self) -> None:
        os._exit(3)


class Uninstalled(Toy):
    def __init__(self) -> None:
        import no_such_package  # noqa: F401


class Unready(Toy):
    def __init__(self) -> None:
        raise NotInstalledError("no compiler; install one")


class Hungry(Toy):
    """Holds some MB while it runs, itself or in a process that it starts."""

    def __init__(self, *, megabytes: int, child: bool) -> None:
        self.size, self.child = megabytes << 20, child

    def run(self) -> None:
        if self.child:
            subprocess.run([sys.executable, "-c", f"bytearray(b'1') * {self.size}"], check=True)
        else:
            np.ones(self.size, np.uint8)


class Environment(Toy):
    def answer(self) -> Any:
        return os.environ.get("A_TOY")
