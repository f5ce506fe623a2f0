"""``prepare``: a data set as a packed folder, or LIDC-IDRI from raw CT."""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import probseg
from benchmarks.arguments import choose
from benchmarks.data.opening import Source, add_source
from probseg.cli.command import Command
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import OptionError
from probseg.options import check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probseg.datasets.cache.dataset import PackedDataset
    from probseg.datasets.cache.source import Block
    from probseg.interfaces import Dataset

Window = Literal["crop"] | tuple[float, float]
CHUNK = 64  # samples
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
    if out.is_file():
        raise OptionError(f"--out {out} is a file; give a folder")
    if options.dicom is None:
        for name in ("spacing", "window"):
            if getattr(options, name) is not None:
                raise OptionError(f"--{name} is for raw CT; give --dicom DIR too")
        _check_replaceable(out)
        packed = repack(source.open(options.name, on_fault="skip"), out)
    elif options.name != "lidc":
        raise OptionError(f"--dicom is for lidc, not for {options.name}")
    else:
        packed = _prepare_ct(options.dicom, out, spacing=options.spacing, window=options.window)
    groups = len(set(packed.groups))
    print_line(f"{len(packed):,} samples of {groups:,} groups are in {out}")
    for line in packed.skipped:
        print_line(f"left out: {line}", style="yellow")
    return 0


def _prepare_ct(
    dicom: Path, out: Path, *, spacing: float | None, window: str | None
) -> PackedDataset:
    if not dicom.is_dir():
        raise OptionError(f"--dicom {dicom} is no folder; give the one with the *.dcm")
    if spacing is not None:
        check_number("--spacing", spacing)
    lung = window in (None, "lung")  # the default of prepare_lidc
    chosen: dict[str, Any] = {} if lung else {"window": parse_window(str(window))}
    from probseg.datasets.lidc.dicom import prepare_lidc

    return prepare_lidc(dicom, out, spacing=spacing, on_fault="skip", **chosen)


def parse_window(text: str) -> Window:
    """Return "crop", or the lowest and highest value in HU of ``LOW,HIGH``.

    Raises:
        OptionError: It is neither.

    >>> parse_window("crop"), parse_window("-1000,400")
    ('crop', (-1000.0, 400.0))
    """
    if text == "crop":
        return "crop"
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise OptionError(f"--window must be lung, crop or LOW,HIGH in HU, LOW first, not {text!r}")
    return low, high


def _check_replaceable(out: Path) -> None:
    """Check that a folder is new, empty or a packed data set, for it is replaced as a whole."""
    from probseg.datasets.cache.dataset import ARRAYS, META
    from probseg.datasets.lidc.dicom import MISSING

    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    if names and not {META} <= names <= {META, *ARRAYS, MISSING}:
        raise OptionError(f"--out {out} holds other files; give a new folder")


def repack(dataset: Dataset, folder: Path) -> PackedDataset:
    """Write a data set to a folder, in place of a packed one that is there, and open it.

    Raises:
        WriteError: The folder cannot be written.
    """
    from probseg.datasets.cache.dataset import ARRAYS, META, PackedDataset
    from probseg.datasets.cache.packing import pack
    from probseg.utils.atomic_files import atomic_folder

    if not isinstance(dataset, PackedDataset):
        pack(Samples(dataset), folder)
    elif not (folder.is_dir() and folder.samefile(dataset.folder)):
        with atomic_folder(folder) as temporary:
            for name in (*ARRAYS, META):  # with the times that meta.json holds
                shutil.copy2(dataset.folder / name, temporary)
    return PackedDataset(folder)


class Samples:
    """The samples of a data set as a source for packing, its images as float16.

    Args:
        dataset: To pack; it can be pickled.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.classes = dataset.classes
        self.provenance = dataset.provenance
        self.state: dict[str, Any] = {"path": dataset.name, "fingerprint": dataset.fingerprint}

    def __len__(self) -> int:
        return len(self.dataset)

    def chunks(self) -> list[Sequence[int]]:
        """Return the samples' indices in chunks."""
        from probseg.datasets.cache.source import chunked

        return chunked(range(len(self)), CHUNK)

    def faults(self) -> list[str]:
        """Return nothing: the data set can be read."""
        return []

    def read(self, chunk: Sequence[int]) -> Block:
        """Read the samples of a chunk."""
        import numpy as np

        from probseg.datasets.cache.source import Block

        image, masks, present = self.dataset.__getitems__(chunk)
        groups = [str(self.dataset.groups[index]) for index in chunk]
        return Block(
            ids=[f"{group}/{index}" for group, index in zip(groups, chunk, strict=True)],
            groups=groups,
            images=image.numpy().astype(np.float16),
            masks=masks.numpy(),
            present=None if present is None else present.numpy(),
        )
