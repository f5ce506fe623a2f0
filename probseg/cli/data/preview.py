"""``probseg data preview``: a sheet of images with everybody's contours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probseg.cli.opening import add_data, add_sections, open_data, parse_sections
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import OptionError
from probseg.options import check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from probseg.interfaces import Dataset

SUMMARY = "draw a sheet of images with everybody's contours"
EXAMPLES = """
examples:
  %(prog)s my-data --out sheet.png
  %(prog)s my-data --out sheet.png --images 30 --seed 1 --set data.size=128
  %(prog)s lidc --root DATA --out lidc.png --crop 64
  %(prog)s qubiq-brain-tumor-1 --root DATA --out tumor.png --channel 2
"""
_LONGEST = 34  # characters of a title
_DOTS_PER_INCH = 150


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``preview``."""
    add_data(parser, "data")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE.png", help="the sheet to write")
    add("--images", type=int, default=12, metavar="N", help="images on the sheet (12)")
    add("--seed", type=int, default=0, metavar="N", help="of the choice of images (0)")
    add("--crop", type=int, metavar="PIXELS", help="the middle only")
    add("--channel", type=int, metavar="N", help="which to show (three in colour, else 0)")
    add_sections(parser, ("data",))


def run(options: argparse.Namespace) -> int:
    """Write the sheet and return exit status 0."""
    from probseg.datasets.batches import data_title
    from probseg.datasets.splits import thin
    from probseg.utils.atomic_files import atomic_file
    from probseg.utils.imports import require

    out, channel = options.out, options.channel
    check_integer("--seed", options.seed, low=0)
    check_integer("--images", options.images)
    if options.crop is not None:
        check_integer("--crop", options.crop)
    if out.suffix.lower() != ".png":
        raise OptionError(f"--out {out}: the sheet is a PNG; call it FILE.png")
    given = parse_sections(options.set, ("data",))["data"]
    require("matplotlib", extra="plot", for_="probseg data preview")  # before anything is read
    dataset = open_data(options.data, options.root, given, on_fault="skip")
    if channel is not None and channel not in range(dataset.channels):
        raise OptionError(f"--channel is {channel}, but there are {dataset.channels}, from 0")
    indices = thin(range(len(dataset)), options.images, seed=options.seed)
    title = f"{data_title(dataset)} (seed {options.seed})"
    figure = draw(dataset, indices, title=title, crop=options.crop, channel=channel)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=_DOTS_PER_INCH, facecolor="white", format="png")
    print_line(f"{len(indices)} of {len(dataset):,} images are in {out}")
    if skipped := getattr(dataset, "skipped", ()):
        print_line(f"{len(skipped):,} faults; probseg data check tells what was left out", "yellow")
    return 0


def draw(
    dataset: Dataset,
    indices: Sequence[int],
    *,
    title: str,
    crop: int | None = None,
    channel: int | None = None,
) -> Figure:
    """Draw samples (a channel, the middle of ``crop`` pixels) with contours, each under its name.

    Without a channel, three are shown in colour, and of any other number the first.
    """
    from probseg.datasets.annotators import annotator_names, presence
    from probseg.datasets.mask_kinds import ignore_index_of
    from probseg.datasets.views import CentreCrop, sample_name
    from probseg.plots import Annotated, contact_sheet, hide_ignored
    from probseg.utils.tensors import as_classes

    view = CentreCrop(dataset, crop) if crop else dataset
    image, masks, present = view.batch(indices)
    names = [sample_name(dataset, index) for index in indices]
    # Samples' names differ at their ends.
    titles = [name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in names]
    who = presence(masks, present)
    labels = hide_ignored(as_classes(masks).numpy(), ignore_index_of(dataset))
    images = image if channel is None else image[:, channel]
    columns = (images.numpy(), labels, who.numpy(), titles)
    panels = [Annotated(*row) for row in zip(*columns, strict=True)]
    return contact_sheet(panels, annotator_names(dataset), title=title, classes=dataset.classes)
