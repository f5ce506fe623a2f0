"""How much of a machine, or of how many, a run takes: what the command line says of it."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.suite.validation import ChoiceError

if TYPE_CHECKING:
    from benchmarks.execution.work import Schedule


@dataclass(frozen=True)
class Scale:
    """Where cells are done, and how many at once.

    Args:
        workers: Processes on this machine.
        ray: Address of a Ray cluster.
        gpus_per_cell: Of the cluster, a fraction where cells share one.
        devices: That train one cell together.
        threads: Of the processor, a cell; None where the cell has the machine to itself.
    """

    workers: int = 1
    ray: str | None = None
    gpus_per_cell: float | None = None
    devices: int = 1
    threads: int | None = None

    def schedule(self) -> Schedule:
        """Return what does the cells."""
        if self.ray is not None:
            from benchmarks.execution.cluster import Cluster

            return Cluster(self.ray, self.gpus_per_cell or 0)
        if self.workers > 1:
            from benchmarks.execution.workers import Workers

            return Workers(self.workers)
        from benchmarks.execution.work import serial

        return serial


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the choices to a command."""
    group = parser.add_argument_group("at which scale")
    group.add_argument("--workers", type=int, default=1, metavar="N", help="cells at once, here")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="cells on a Ray cluster; auto joins one that runs here, or starts one",
    )
    group.add_argument(
        "--gpus-per-cell", type=float, metavar="X", help="of the Ray cluster, such as 0.5"
    )
    group.add_argument(
        "--devices", type=int, default=1, metavar="N", help="GPUs (or processes) that share a cell"
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of the processor, a cell (default: the cores over the workers; 1 with --ray)",
    )


def chosen(options: argparse.Namespace) -> Scale:
    """Return what was chosen.

    Raises:
        ChoiceError: A number is out of range, or two choices exclude each other.
    """
    for name in ("workers", "devices", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ChoiceError(f"--{name} is {value}; it is a whole number of at least 1")
    if options.gpus_per_cell is not None:
        _check_gpus(options.gpus_per_cell, options.ray)
    several = {
        "--workers": options.workers > 1,
        "--ray": options.ray is not None,
        "--devices": options.devices > 1,
    }
    wanted = [flag for flag, is_wanted in several.items() if is_wanted]
    if len(wanted) > 1:
        raise ChoiceError(f"{' and '.join(wanted)} do not go together; choose one")
    gpus = options.gpus_per_cell
    if gpus is None and options.ray and options.device.startswith("cuda"):
        gpus = 1.0
    return Scale(options.workers, options.ray, gpus, options.devices, _threads(options))


def _check_gpus(share: float, ray: str | None) -> None:
    if ray is None:
        raise ChoiceError("--gpus-per-cell is of a Ray cluster; it comes with --ray")
    if not (0 <= share < 1 or share == int(share) > 0):
        raise ChoiceError(
            f"--gpus-per-cell is {share}; it is a fraction of one GPU, or a whole number"
        )


def _threads(options: argparse.Namespace) -> int | None:
    if options.threads is not None or options.workers == 1:
        return options.threads or (1 if options.ray else None)
    return max(1, _cores() // options.workers)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
