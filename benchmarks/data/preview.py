"""``preview``: a sheet of images with everybody's contours, or of their augmentations."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
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
    from torch import Generator

    from probseg.interfaces import Batch, Dataset
    from probseg.plots import Annotated
    from probseg.training.augmentation import Draw

VERSIONS = 8  # augmented versions beside each original
LONGEST_TITLE = 34  # characters
DOTS_PER_INCH = 150
EXAMPLES = """
examples:
  %(prog)s lidc --data-root DATA --out lidc.png --crop 64
  %(prog)s folder --data-root my/data --out mine.png --samples 30 --seed 1
  %(prog)s qubiq-brain-tumor-1 --data-root DATA --out tumor.png --channel 2
  %(prog)s lidc --data-root DATA --out augmented.png --augment
      each image and eight random transformations of it (Table 5)
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``preview``."""
    parser.add_argument("name", metavar="NAME", help="such as lidc, folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="images (default: 12, with --augment 4)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice (0)")
    parser.add_argument("--crop", type=int, metavar="PIXELS", help="the middle only")
    parser.add_argument("--channel", type=int, default=0, metavar="N", help="which to show (0)")
    parser.add_argument(
        "--augment", action="store_true", help="show each image and random transformations of it"
    )
    add_source(parser)


COMMAND = Command(
    name="preview",
    summary="a contact sheet with everybody's contours",
    add_arguments=add_arguments,
    run="benchmarks.data.preview:run",
    examples=EXAMPLES,
)


@dataclass(frozen=True)
class SheetOptions:
    """What a sheet shows."""

    samples: int = 12
    seed: int = 0  # of the choice of samples, and of augmentations
    crop: int | None = None  # pixels of the middle
    channel: int = 0
    augment: bool = False


def run(options: argparse.Namespace) -> int:
    """Write the sheet and return exit status 0.

    Raises:
        OptionError: An option makes no sense.
        ProbsegError: The data are missing or damaged, or the sheet cannot be written.
    """
    name, out = options.name, options.out
    source, sheet = Source.of(options), _sheet_options(options)
    choose([name], probseg.datasets, kind="data set")
    if out.suffix.lower() != ".png":
        raise OptionError(f"--out {out}: the sheet is a PNG; call it FILE.png")
    dataset = source.open(name, on_fault="skip")
    if sheet.channel not in range(dataset.channels):
        raise OptionError(f"--channel is {sheet.channel}; {name} has {dataset.channels}")
    figure = draw(dataset, draw_indices(len(dataset), sheet.samples, seed=sheet.seed), sheet)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")
    count = min(sheet.samples, len(dataset))
    print_line(f"{count} of {len(dataset):,} images of {name} are in {out}")
    if skipped := getattr(dataset, "skipped", ()):
        print_line(f"{len(skipped):,} were left out; check {name} says why", style="yellow")
    return 0


def _sheet_options(options: argparse.Namespace) -> SheetOptions:
    check_integer("--seed", options.seed, low=0)
    default = 4 if options.augment else 12
    return SheetOptions(
        samples=check_integer("--samples", default if options.samples is None else options.samples),
        seed=options.seed,
        crop=None if options.crop is None else check_integer("--crop", options.crop),
        channel=options.channel,
        augment=options.augment,
    )


def draw_indices(count: int, limit: int, *, seed: int) -> list[int]:
    """Return at most ``limit`` of ``count`` indices, drawn without replacement, in order."""
    import numpy as np

    chosen = np.random.default_rng(seed).choice(count, size=min(limit, count), replace=False)
    return sorted(chosen.tolist())


def draw(dataset: Dataset, indices: Sequence[int], sheet: SheetOptions) -> Figure:
    """Draw samples, each under its name: their contours, or their augmentations."""
    from probseg.datasets.views import CentreCrop

    titles = {index: shorten(sample_name(dataset, index)) for index in indices}
    names = annotator_names(dataset)
    view = CentreCrop(dataset, sheet.crop) if sheet.crop else dataset
    return (draw_augmented if sheet.augment else draw_contours)(view, titles, names, sheet)


def draw_contours(
    dataset: Dataset, titles: dict[int, str], names: Sequence[str], sheet: SheetOptions
) -> Figure:
    """Draw samples with their contours, each under its title.

    Args:
        dataset: The samples.
        titles: Index of a sample to its title.
        names: Of the annotators.
        sheet: Channel, and the seed for the title.
    """
    from probseg.plots import contact_sheet

    batch = dataset.__getitems__(list(titles))
    panels = _panels(batch, titles=list(titles.values()), channel=sheet.channel)
    return contact_sheet(panels, names, title=f"{dataset.name} (seed {sheet.seed})")


def draw_augmented(
    dataset: Dataset, titles: dict[int, str], names: Sequence[str], sheet: SheetOptions
) -> Figure:
    """Draw each sample, and beside it some random transformations of it."""
    import torch

    from probseg.plots import contact_sheet

    generator = torch.Generator().manual_seed(sheet.seed)
    panels = []
    for index, title in titles.items():
        several = dataset.__getitems__([index] * (1 + VERSIONS))
        versions, descriptions = _augmented(several, generator)
        row = _panels(versions, titles=[title, *descriptions], channel=sheet.channel)
        original = row[0].image  # all share its range of grey, so that brightness shows
        limits = (float(original.min()), float(original.max()))
        panels += [panel._replace(limits=limits) for panel in row]
    heading = f"{dataset.name}: augmentation of Table 5 (seed {sheet.seed})"
    return contact_sheet(panels, names, columns=1 + VERSIONS, title=heading)


def _augmented(batch: Batch, generator: Generator) -> tuple[Batch, list[str]]:
    """Transform all images but the first, and describe how."""
    import torch

    from probseg.training.augmentation import apply, draw

    drawn = draw(VERSIONS, generator)
    image, masks = apply(batch.image[1:], batch.masks[1:], drawn)
    moved = batch._replace(
        image=torch.cat([batch.image[:1], image]), masks=torch.cat([batch.masks[:1], masks])
    )
    return moved, [_describe(drawn, index) for index in range(VERSIONS)]


def _panels(batch: Batch, *, titles: Sequence[str], channel: int) -> list[Annotated]:
    from probseg.plots import Annotated

    image, masks, present = batch
    everybody = masks.new_ones(masks.shape[:2]).bool()
    present = everybody if present is None else present
    columns = (image[:, channel].numpy(), masks.numpy(), present.numpy(), titles)
    return [Annotated(*row) for row in zip(*columns, strict=True)]


def _describe(drawn: Draw, index: int) -> str:
    turn, shift, scale, shear, brightness, gamma = (values[index].tolist() for values in drawn)
    return (
        f"turn {turn:.0f}°, size ×{scale:.2f}\n"
        f"shift {shift[0]:+.2f} {shift[1]:+.2f}, shear {shear[0]:+.0f}° {shear[1]:+.0f}°\n"
        f"brightness ×{brightness:.2f}, gamma {gamma:.2f}"
    )


def shorten(name: str) -> str:
    """Return the end of a long name, where samples' names differ.

    >>> shorten("LIDC-IDRI-0001/nodule-0/slice-1"), shorten("x" * 40)[:3]
    ('LIDC-IDRI-0001/nodule-0/slice-1', '…xx')
    """
    return name if len(name) <= LONGEST_TITLE else f"…{name[1 - LONGEST_TITLE :]}"
