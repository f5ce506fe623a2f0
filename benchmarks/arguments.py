"""Arguments that several commands share, their checks, and the options of a run; without torch."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.suite.settings import FOLDS
from probseg.errors import OptionError
from probseg.options import check_choice, check_integer, unknown

# Groups of options, as the help of a run names them.
WHAT, HOW, WHERE, SCALE = "what to run", "how", "where", "at which scale"

# argparse's keywords for an option, by its type
_HOW: dict[str, dict[str, Any]] = {
    "bool": {"action": "store_true"},
    "str": {"metavar": "NAME"},
    "str | None": {"metavar": "NAME"},
    "tuple[str, ...]": {"nargs": "+", "metavar": "NAME"},
    "tuple[str, ...] | None": {"nargs": "*", "metavar": "NAME"},
    "tuple[int, ...]": {"nargs": "+", "type": int, "metavar": "N"},
    "int": {"type": int, "metavar": "N"},
    "int | None": {"type": int, "metavar": "N"},
    "float | None": {"type": float, "metavar": "X"},
    "Path": {"type": Path, "metavar": "DIR"},
    "Mapping[str, Any]": {"nargs": "+", "metavar": "KEY=VALUE"},
}


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


def _option(group: str, default: Any, text: str, **how: Any) -> Any:
    """Return the field of an option: its group in the help, its default and argparse's keywords."""
    return field(default=default, metadata={"group": group, "help": text, **how})


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of ``python -m benchmarks.run``; plain data that other processes can get.

    Each field is an argument of the command, with its help.

    Raises:
        OptionError: A value is out of range, or two exclude each other.
    """

    all: bool = _option(WHAT, False, "every data set and model of the suite")
    suite: str = _option(
        WHAT, "suite", "an ablation below, or a TOML file of your own (default: the paper's)"
    )
    datasets: tuple[str, ...] = _option(WHAT, (), "such as contours, lidc")
    models: tuple[str, ...] = _option(
        WHAT, (), "rows of the suite, such as punet, csae-own, and models of installed plugins"
    )
    baselines: tuple[str, ...] | None = _option(WHAT, None, "by default all; no name for none")
    folds: tuple[int, ...] = _option(WHAT, (), "of 0, 1, 2")
    seeds: tuple[int, ...] = _option(WHAT, (0,), "of training (default: 0)", flag="--seed")
    profile: str = _option(
        HOW, "auto", "quick (a CPU), paper (a GPU) or auto, which picks one and says so"
    )
    settings: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"group": HOW, "help": "settings other than the suite's", "flag": "--set"},
    )
    device: str = _option(HOW, "auto", "auto, cpu, cuda, cuda:1, mps")
    data_root: Path | None = None
    out: Path = field(
        default=Path("benchmarks/out"), metadata={"group": WHERE, "help": "default: benchmarks/out"}
    )
    workers: int = _option(SCALE, 1, "cells at once, here")
    ray: str | None = _option(
        SCALE,
        None,
        "cells on a Ray cluster; auto joins one that runs here, or starts one",
        metavar="ADDRESS",
    )
    gpus_per_cell: float | None = _option(SCALE, None, "of the Ray cluster, such as 0.5")
    devices: int = _option(SCALE, 1, "GPUs (or processes) that share a cell")
    threads: int | None = _option(
        SCALE, None, "of the processor, a cell (default: the cores over the workers; 1 with --ray)"
    )

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Add the arguments to a parser."""
        for name in (WHAT, HOW, WHERE, SCALE):
            group = parser.add_argument_group(name)
            if name == WHERE:
                add_data_root(group)
            for option in (f for f in fields(cls) if f.metadata.get("group") == name):
                how = {**_HOW[str(option.type)], **option.metadata}
                flag = how.pop("flag", f"--{option.name.replace('_', '-')}")
                del how["group"]
                group.add_argument(flag, dest=option.name, **how)

    def __post_init__(self) -> None:
        for fold in self.folds:
            check_choice("--folds", fold, range(FOLDS))
        for seed in self.seeds:
            check_integer("--seed", seed, low=0)
        check_data_root(self.data_root)
        check_device(self.device)
        if self.out.exists() and not self.out.is_dir():
            raise OptionError(f"--out must be a folder, but {self.out} is a file")
        _check_scale(self)

    @property
    def threads_per_cell(self) -> int | None:
        """Threads of a cell: by default the cores over the workers, None for all that torch takes.

        On a cluster it is 1.
        """
        if self.threads is not None:
            return self.threads
        if self.ray is not None:
            return 1
        return None if self.workers == 1 else max(1, cores() // self.workers)

    @property
    def ray_gpus_per_cell(self) -> float:
        """GPUs of a cell on a cluster, one where cells train on CUDA and nothing else is given."""
        if self.gpus_per_cell is not None:
            return self.gpus_per_cell
        return 1.0 if self.device.startswith("cuda") else 0.0


def _check_scale(options: RunOptions) -> None:
    check_integer("--workers", options.workers)
    check_integer("--devices", options.devices)
    if options.threads is not None:
        check_integer("--threads", options.threads)
    given = {
        "--workers": options.workers > 1,
        "--ray": options.ray is not None,
        "--devices": options.devices > 1,
    }
    several = [option for option, is_given in given.items() if is_given]
    if len(several) > 1:
        raise OptionError(f"{' and '.join(several)} do not go together; choose one")
    share = options.gpus_per_cell
    if share is not None and options.ray is None:
        raise OptionError("--gpus-per-cell is of a Ray cluster; it comes with --ray")
    if share is not None and not (0 <= share < 1 or share == int(share) > 0):
        raise OptionError(
            f"--gpus-per-cell must be a fraction of one GPU, or a whole number, not {share}"
        )


def cores() -> int:
    """Return how many cores of the processor this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
