"""``preview``: a sheet of images with everybody's contours, or of their augmentations."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.arguments import check_seed
from benchmarks.data.opening import annotators_of, check_choices, name_of, open_named
from probseg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from torch import Generator

    from probseg.interfaces import Batch, Dataset
    from probseg.plots import Annotated

Titled = dict[int, str]  # index of a sample to its title
VERSIONS = 8  # augmented versions beside each original
LONGEST = 34  # letters of a title


def run(options: argparse.Namespace) -> int:
    """Write the sheet and return exit status 0.

    Raises:
        OptionError: A choice makes no sense.
        ProbsegError: The data are not there or damaged, or the sheet cannot be written.
    """
    _check(options)
    from benchmarks.jobs.data import thin
    from benchmarks.reports.figures import write_figure
    from probseg.datasets.views import CentreCrop

    dataset = open_named(options.name, options, on_fault="skip")
    if not 0 <= options.channel < dataset.channels:
        raise OptionError(f"--channel is {options.channel}; {options.name} has {dataset.channels}")
    samples = options.samples or (4 if options.augment else 12)
    chosen = thin(range(len(dataset)), samples, seed=options.seed)
    titles = {index: shorten(name_of(dataset, index)) for index in chosen}
    view = CentreCrop(dataset, options.crop) if options.crop else dataset
    draw = draw_augmented if options.augment else draw_sheet
    write_figure(options.out, draw(view, titles, annotators_of(dataset), options))
    told = f"{len(chosen)} of {len(dataset):,} images of {options.name} are in {options.out}"
    console = Console()
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    if skipped := getattr(dataset, "skipped", ()):
        told = f"{len(skipped):,} were left out; check {options.name} says why"
        console.print(told, style="yellow", highlight=False, markup=False)
    return 0


def _check(options: argparse.Namespace) -> None:
    check_choices(options, [options.name])
    check_seed(options.seed)
    for name in ("samples", "crop"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionError(f"--{name} is {value}; it is at least 1")
    if options.out.suffix.lower() != ".png":
        raise OptionError(f"--out {options.out}: the sheet is a PNG; call it FILE.png")


def draw_sheet(
    dataset: Dataset, chosen: Titled, names: Sequence[str], options: argparse.Namespace
) -> Figure:
    """Draw the chosen images, each under its title, with their contours."""
    from probseg.plots import contact_sheet

    batch = dataset.__getitems__(list(chosen))
    panels = _panels(batch, titles=list(chosen.values()), channel=options.channel)
    return contact_sheet(panels, names, title=f"{dataset.name} (seed {options.seed})")


def draw_augmented(
    dataset: Dataset, chosen: Titled, names: Sequence[str], options: argparse.Namespace
) -> Figure:
    """Draw each chosen image, and beside it some random transformations of it."""
    import torch

    from probseg.plots import contact_sheet

    generator = torch.Generator().manual_seed(options.seed)
    panels = []
    for index, title in chosen.items():
        several = dataset.__getitems__([index] * (1 + VERSIONS))
        versions, titles = _augmented(several, generator)
        row = _panels(versions, titles=[title, *titles], channel=options.channel)
        original = row[0].image  # whose scale of grey all share, so that brightness shows
        limits = (float(original.min()), float(original.max()))
        panels += [panel._replace(limits=limits) for panel in row]
    heading = f"{dataset.name}: augmentation of Table 5 (seed {options.seed})"
    return contact_sheet(panels, names, columns=1 + VERSIONS, title=heading)


def _augmented(batch: Batch, generator: Generator) -> tuple[Batch, list[str]]:
    """Transform all images but the first, and say how."""
    import torch

    from probseg.training.augmentation import apply, draw

    drawn = draw(VERSIONS, generator)
    image, masks = apply(batch.image[1:], batch.masks[1:], drawn)
    moved = batch._replace(
        image=torch.cat([batch.image[:1], image]), masks=torch.cat([batch.masks[:1], masks])
    )
    told = zip(*(value.tolist() for value in drawn), strict=True)
    return moved, [_told(*parameters) for parameters in told]


def _panels(batch: Batch, *, titles: Sequence[str], channel: int) -> list[Annotated]:
    from probseg.plots import Annotated

    image, masks, present = batch
    everybody = masks.new_ones(masks.shape[:2]).bool()
    present = everybody if present is None else present
    columns = (image[:, channel].numpy(), masks.numpy(), present.numpy(), titles)
    return [Annotated(*row) for row in zip(*columns, strict=True)]


def _told(
    rotation: float,
    shift: Sequence[float],
    scale: float,
    shear: Sequence[float],
    brightness: float,
    gamma: float,
) -> str:
    return (
        f"turn {rotation:.0f}°, size ×{scale:.2f}\n"
        f"shift {shift[0]:+.2f} {shift[1]:+.2f}, shear {shear[0]:+.0f}° {shear[1]:+.0f}°\n"
        f"brightness ×{brightness:.2f}, gamma {gamma:.2f}"
    )


def shorten(name: str) -> str:
    """Return the end of a long name, which tells samples apart.

    >>> shorten("LIDC-IDRI-0001/nodule-0/slice-1"), shorten("x" * 40)[:3]
    ('LIDC-IDRI-0001/nodule-0/slice-1', '…xx')
    """
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"
