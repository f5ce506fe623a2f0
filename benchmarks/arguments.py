"""Arguments that several commands share, their checks, and the options of a run; without torch."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

from benchmarks.suite.settings import FOLDS
from probseg.errors import OptionError
from probseg.options import check_choice, check_integer, unknown


def add_data_root(parser: argparse._ActionsContainer) -> None:
    """Add ``--data-root``."""
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="folder of the data sets that are not embedded (default: $PROBSEG_DATA)",
    )


def choose(names: Iterable[str], known: Iterable[str], *, kind: str) -> tuple[str, ...]:
    """Return ``names`` without repetition, each of which must be known.

    Raises:
        OptionError: One is unknown; the message suggests the nearest one.
    """
    names, known = tuple(names), tuple(known)
    for name in names:
        if name not in known:
            raise OptionError(unknown(kind, name, known))
    return tuple(dict.fromkeys(names))


def check_data_root(root: Path | None) -> None:
    """Check that the data root exists, if one is given.

    Raises:
        OptionError: It does not.
    """
    if root is not None and not root.exists():
        raise OptionError(f"--data-root {root} does not exist; give the folder of the data sets")


def check_device(device: str) -> None:
    """Check the name of a device, whether or not this machine has it.

    Raises:
        OptionError: No device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise OptionError(f"--device must be one of auto, cpu, cuda, cuda:1, mps, not {device!r}")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of ``python -m benchmarks.run``, which says what they mean; plain data.

    Raises:
        OptionError: A value is out of range, or two exclude each other.
    """

    all: bool = False
    suite: str = "suite"
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    baselines: tuple[str, ...] | None = None
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    profile: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    data_root: Path | None = None
    out: Path = Path("benchmarks/out")
    workers: int = 1
    ray: str | None = None
    gpus_per_experiment: float | None = None
    devices: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        for fold in self.folds:
            check_choice("--folds", fold, range(FOLDS))
        for seed in self.seeds:
            check_integer("--seed", seed, low=0)
        check_data_root(self.data_root)
        check_device(self.device)
        if self.out.exists() and not self.out.is_dir():
            raise OptionError(f"--out must be a folder, but {self.out} is a file")
        check_integer("--workers", self.workers)
        check_integer("--devices", self.devices)
        if self.threads is not None:
            check_integer("--threads", self.threads)
        given = (self.workers > 1, self.ray is not None, self.devices > 1)
        several = list(compress(("--workers", "--ray", "--devices"), given))
        if len(several) > 1:
            raise OptionError(f"{' and '.join(several)} do not go together; choose one")
        share = self.gpus_per_experiment
        if share is not None and self.ray is None:
            raise OptionError("--gpus-per-experiment is of a Ray cluster; it comes with --ray")
        if share is not None and not (0 <= share < 1 or share == int(share) > 0):
            raise OptionError(
                "--gpus-per-experiment must be a fraction of one GPU, or a whole number, "
                f"not {share}"
            )

    @property
    def threads_per_experiment(self) -> int | None:
        """Threads of an experiment; None is as many as torch takes."""
        if self.threads is not None:
            return self.threads
        if self.ray is not None:
            return 1
        return None if self.workers == 1 else max(1, cores() // self.workers)


def cores() -> int:
    """Return how many cores of the processor this process may use."""
    linux = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
