"""``preview``: a sheet of images with everybody's contours."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import TYPE_CHECKING

import probseg
from benchmarks.arguments import choose
from benchmarks.data.opening import Source, add_source, annotator_names, sample_name
from probseg.cli.command import Command
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import OptionError
from probseg.options import check_integer
from probseg.utils.atomic_files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from probseg.interfaces import Dataset

LONGEST = 34  # characters of a title
DOTS_PER_INCH = 150
EXAMPLES = """
examples:
  %(prog)s lidc --data-root DATA --out lidc.png --crop 64
  %(prog)s folder --data-root my/data --out mine.png --samples 30 --seed 1
  %(prog)s qubiq-brain-tumor-1 --data-root DATA --out tumor.png --channel 2
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``preview``."""
    parser.add_argument("name", metavar="NAME", help="such as lidc, folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    parser.add_argument("--samples", type=int, default=12, metavar="N", help="images (12)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice (0)")
    parser.add_argument("--crop", type=int, metavar="PIXELS", help="the middle only")
    parser.add_argument("--channel", type=int, default=0, metavar="N", help="which to show (0)")
    add_source(parser)


COMMAND = Command(
    name="preview",
    summary="a contact sheet with everybody's contours",
    add_arguments=add_arguments,
    run="benchmarks.data.preview:run",
    examples=EXAMPLES,
)


def run(options: argparse.Namespace) -> int:
    """Write the sheet and return exit status 0.

    Raises:
        OptionError: An option makes no sense.
        ProbsegError: The data are missing or damaged, or the sheet cannot be written.
    """
    name, out, channel = options.name, options.out, options.channel
    source = Source.of(options)
    check_integer("--seed", options.seed, low=0)
    for flag, value in (("--samples", options.samples), ("--crop", options.crop)):
        if value is not None:
            check_integer(flag, value)
    choose([name], probseg.datasets, kind="data set")
    if out.suffix.lower() != ".png":
        raise OptionError(f"--out {out}: the sheet is a PNG; call it FILE.png")
    dataset = source.open(name, on_fault="skip")
    if channel not in range(dataset.channels):
        raise OptionError(f"--channel is {channel}; {name} has {dataset.channels}")
    count = min(options.samples, len(dataset))
    indices = sorted(random.Random(options.seed).sample(range(len(dataset)), count))
    title = f"{dataset.name} (seed {options.seed})"
    figure = draw(dataset, indices, title=title, crop=options.crop, channel=channel)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")
    print_line(f"{len(indices)} of {len(dataset):,} images of {name} are in {out}")
    if skipped := getattr(dataset, "skipped", ()):
        print_line(f"{len(skipped):,} were left out; check {name} says why", style="yellow")
    return 0


def draw(
    dataset: Dataset,
    indices: Sequence[int],
    *,
    title: str,
    crop: int | None = None,
    channel: int = 0,
) -> Figure:
    """Draw a channel of samples (of their middle, ``crop``) with contours, each under its name."""
    from probseg.datasets.views import CentreCrop
    from probseg.plots import Annotated, contact_sheet

    view = CentreCrop(dataset, crop) if crop else dataset
    image, masks, present = view.batch(indices)
    if present is None:
        present = masks.new_ones(masks.shape[:2]).bool()
    names = [sample_name(dataset, index) for index in indices]
    # Samples' names differ at their ends.
    titles = [name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}" for name in names]
    columns = (image[:, channel].numpy(), masks.numpy(), present.numpy(), titles)
    panels = [Annotated(*row) for row in zip(*columns, strict=True)]
    return contact_sheet(panels, annotator_names(dataset), title=title)
