"""``prepare``: a data set as a packed folder, or LIDC-IDRI from raw CT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.data.opening import check_choices, open_named
from probseg.errors import OptionError

if TYPE_CHECKING:
    from probseg.datasets.cache.dataset import PackedDataset

Window = str | tuple[float, float]
OF_CT = ("spacing", "window")  # options that only raw CT has


def run(options: argparse.Namespace) -> int:
    """Pack the data set, say what was left out, and return exit status 0.

    Raises:
        OptionError: A choice makes no sense.
        ProbsegError: The data are not there or damaged, or the folder cannot be written.
    """
    _check(options)
    made = _from_dicom(options) if options.dicom else _from_dataset(options)
    console = Console()
    groups = len(set(made.groups))
    told = f"{len(made):,} samples of {groups:,} groups are in {options.out}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    for line in made.skipped:
        line = f"left out: {line}"
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    return 0


def _check(options: argparse.Namespace) -> None:
    check_choices(options, [options.name])
    if options.out.is_file():
        raise OptionError(f"--out {options.out} is a file; give a folder")
    if options.dicom is None:
        for name in OF_CT:
            if getattr(options, name) is not None:
                raise OptionError(f"--{name} is for raw CT; give --dicom DIR too")
        return
    if options.name != "lidc":
        raise OptionError(f"--dicom is for lidc, not for {options.name}")
    if not options.dicom.is_dir():
        raise OptionError(f"--dicom {options.dicom} is no folder; give the one with the *.dcm")
    if options.spacing is not None and not 0 < options.spacing < float("inf"):
        raise OptionError(f"--spacing is {options.spacing}; it is a positive number of mm")
    window(options.window or "lung")


def window(text: str) -> Window:
    """Return what a window's text means: a name, or its lowest and highest value in HU.

    Raises:
        OptionError: It is neither.

    >>> window("lung"), window("-1000,400")
    ('lung', (-1000.0, 400.0))
    """
    if text in ("lung", "crop"):
        return text
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = float("nan")
    if not -float("inf") < low < high < float("inf"):
        raise OptionError(f"--window is {text!r}; it is lung, crop or LOW,HIGH in HU, LOW first")
    return low, high


def _from_dicom(options: argparse.Namespace) -> PackedDataset:
    from probseg.datasets.lidc.dicom import prepare_lidc

    named = options.window in (None, "lung")  # the default there
    chosen = {} if named else {"window": window(options.window)}
    return prepare_lidc(
        options.dicom, options.out, spacing=options.spacing, on_fault="skip", **chosen
    )


def _from_dataset(options: argparse.Namespace) -> PackedDataset:
    from benchmarks.data.repacking import repack

    _check_free(options.out)
    return repack(open_named(options.name, options, on_fault="skip"), options.out)


def _check_free(out: Path) -> None:
    from probseg.datasets.cache.dataset import ARRAYS, META
    from probseg.datasets.lidc.dicom import MISSING

    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    if names and not {META} <= names <= {META, *ARRAYS, MISSING}:  # it would all be replaced
        raise OptionError(f"--out {out} holds other files; give a new folder")
