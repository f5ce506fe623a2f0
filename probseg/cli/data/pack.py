"""``probseg data pack``: a data set as a packed folder, or LIDC-IDRI from raw CT."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import add_data, add_sections, open_data, parse_sections
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import OptionError

if TYPE_CHECKING:
    from probseg.datasets.cache.dataset import PackedDataset

SUMMARY = "pack a data set into one folder"
EXAMPLES = """
examples:
  %(prog)s my-data --out packed/my-data --set data.size=128
  %(prog)s qubiq-brain-growth --root DATA --out packed/brain-growth
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc
      raw CT: crops at native resolution in the lung window
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc --spacing 0.5 --window=-1000,400
      resampled to 0.5 mm, in a window of one's own (mind the = before a minus sign)
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc --window crop
      each crop stretched from its darkest to its brightest value

Every command takes the packed folder in place of the data: --data packed/my-data. The folder is
written whole or not at all. Raw CT goes on where it stopped.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``pack``."""
    add_data(parser, "data")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="the packed folder")
    add("--dicom", type=Path, metavar="DIR", help="raw CT of lidc, a folder of *.dcm a series")
    add("--spacing", type=float, metavar="MM", help="resample the CT (default: as it is)")
    add(
        "--one-nodule",
        action="store_true",
        help="masks of the middle nodule only",
    )
    add("--window", metavar="lung|crop|LOW,HIGH", help="of the CT, in HU (default: lung)")
    add_sections(parser, ("data",))


def run(options: argparse.Namespace) -> int:
    """Pack the data set, say what was left out, and return exit status 0."""
    given = parse_sections(options.set, ("data",))["data"]
    if options.dicom is None:
        for name in ("spacing", "window", "one_nodule"):
            if getattr(options, name) not in (None, False):
                raise OptionError(f"--{name.replace('_', '-')} is for raw CT; give --dicom DIR too")
        packed = _copy(options, given)
    else:
        packed = _pack_ct(options, given)
    groups = len(set(packed.groups))
    print_line(f"{len(packed):,} samples of {groups:,} groups are in {options.out}")
    for line in packed.skipped:
        print_line(f"left out: {line}", style="yellow")
    return 0


def _pack_ct(options: argparse.Namespace, given: dict[str, Any]) -> PackedDataset:
    if options.data != "lidc":
        raise OptionError(f"--dicom is for lidc, not for {options.data}")
    if given or options.root:
        raise OptionError("--dicom takes --spacing and --window, and neither --root nor --set")
    if not options.dicom.is_dir():
        raise OptionError(f"--dicom {options.dicom} is no folder; give the one with the *.dcm")
    from probseg.datasets.lidc.dicom import prepare_lidc

    window = options.window
    chosen: dict[str, Any] = {} if window in (None, "lung") else {"window": parse_window(window)}
    chosen["neighbours"] = not options.one_nodule
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


def _copy(options: argparse.Namespace, given: dict[str, Any]) -> PackedDataset:
    """Copy the cache of a data set, in place of a packed one that is there."""
    from probseg.datasets.cache.dataset import ARRAYS, META, PackedDataset
    from probseg.datasets.cache.packing import check_replaceable
    from probseg.utils.atomic_files import atomic_folder

    check_replaceable(options.out)
    dataset = open_data(options.data, options.root, given, on_fault="skip")
    if not isinstance(dataset, PackedDataset):
        raise OptionError(f"{options.data} is not read from files, so there is nothing to pack")
    if not (options.out.is_dir() and options.out.samefile(dataset.folder)):
        with atomic_folder(options.out) as temporary:
            for file in (*ARRAYS, META):  # with the times that meta.json holds
                shutil.copy2(dataset.folder / file, temporary)
    return PackedDataset(options.out)
