"""Arguments that several commands share, and their checks; torch is not imported."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from pathlib import Path

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


def check_fold(option: str, fold: int) -> None:
    """Check the number of a fold.

    Raises:
        OptionError: The cross-validation has no such fold.
    """
    check_choice(option, fold, range(FOLDS))


def check_seed(seed: int) -> None:
    """Check a seed.

    Raises:
        OptionError: It is negative, which no generator takes.
    """
    check_integer("--seed", seed, low=0)


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
