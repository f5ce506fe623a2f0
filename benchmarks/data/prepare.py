"""``prepare``: a data set as a packed folder, or LIDC-IDRI from raw CT."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.arguments import choose
from benchmarks.data.opening import Source, add_source
from probseg.cli.command import Command
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import OptionError

if TYPE_CHECKING:
    from probseg.datasets.cache.dataset import PackedDataset

EXAMPLES = """
examples:
  %(prog)s qubiq-brain-growth --data-root DATA --out packed/brain-growth
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc
      crops at native resolution in the lung window
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc --spacing 0.5 --window=-1000,400
      resampled to 0.5 mm, in a window of one's own (mind the = before a minus sign)
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc --window crop
      each crop stretched from its darkest to its brightest value

The packed folder is a data root itself: check lidc --data-root packed/lidc.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``prepare``."""
    parser.add_argument("name", metavar="NAME", help="such as lidc, folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the packed folder")
    parser.add_argument(
        "--dicom", type=Path, metavar="DIR", help="raw CT of LIDC-IDRI, a folder of *.dcm a series"
    )
    parser.add_argument(
        "--spacing", type=float, metavar="MM", help="resample the CT (default: as it is)"
    )
    parser.add_argument(
        "--window", metavar="lung|crop|LOW,HIGH", help="of the CT, in HU (default: lung)"
    )
    add_source(parser)


COMMAND = Command(
    name="prepare",
    summary="pack a data set into a folder",
    add_arguments=add_arguments,
    run="benchmarks.data.prepare:run",
    examples=EXAMPLES,
)


def run(options: argparse.Namespace) -> int:
    """Pack the data set, say what was left out, and return exit status 0.

    Raises:
        OptionError: An option makes no sense.
        ProbsegError: The data are missing or damaged, or the folder cannot be written.
    """
    source, out = Source.of(options), options.out
    choose([options.name], probseg.datasets, kind="data set")
    if options.dicom is not None:
        packed = _prepare_ct(options)
    else:
        for name in ("spacing", "window"):
            if getattr(options, name) is not None:
                raise OptionError(f"--{name} is for raw CT; give --dicom DIR too")
        packed = _copy(source, options.name, out)
    groups = len(set(packed.groups))
    print_line(f"{len(packed):,} samples of {groups:,} groups are in {out}")
    for line in packed.skipped:
        print_line(f"left out: {line}", style="yellow")
    return 0


def _prepare_ct(options: argparse.Namespace) -> PackedDataset:
    if options.name != "lidc":
        raise OptionError(f"--dicom is for lidc, not for {options.name}")
    if not options.dicom.is_dir():
        raise OptionError(f"--dicom {options.dicom} is no folder; give the one with the *.dcm")
    from probseg.datasets.lidc.dicom import prepare_lidc

    window = options.window
    chosen: dict[str, Any] = {} if window in (None, "lung") else {"window": parse_window(window)}
    return prepare_lidc(options.dicom, options.out, spacing=options.spacing, **chosen)


def parse_window(text: str) -> str | tuple[float, ...]:
    """Return the numbers of ``LOW,HIGH``, or the text if it is none.

    >>> parse_window("crop"), parse_window("-1000,400")
    ('crop', (-1000.0, 400.0))
    """
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        return text


def _copy(source: Source, name: str, out: Path) -> PackedDataset:
    """Copy the cache of a data set, in place of a packed one that is there."""
    from probseg.datasets.cache.dataset import ARRAYS, META, PackedDataset
    from probseg.datasets.cache.packing import check_replaceable
    from probseg.utils.atomic_files import atomic_folder

    check_replaceable(out)
    dataset = source.open(name, on_fault="skip")
    if not isinstance(dataset, PackedDataset):
        raise OptionError(f"{name} is not read from files, so there is nothing to pack")
    if not (out.is_dir() and out.samefile(dataset.folder)):
        with atomic_folder(out) as temporary:
            for file in (*ARRAYS, META):  # with the times that meta.json holds
                shutil.copy2(dataset.folder / file, temporary)
    return PackedDataset(out)
