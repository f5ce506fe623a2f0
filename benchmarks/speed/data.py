"""Real LIDC: packing it, and reading random batches of the packed cache and of PNG files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.speed.comparison import Candidate, Comparison, Disagreement, Row, Settings, compare
from benchmarks.speed.workers import Worker, Workload
from probseg.errors import MissingDataError

if TYPE_CHECKING:  # torch takes seconds and 500 MB, which opening and packing need not spend
    from probseg.datasets.cache.dataset import PackedDataset
    from probseg.interfaces import Batch

ARCHIVE = "lidc_slices.zip"
COMPARED = 2  # samples in an answer
TOLERANCE = 1e-6  # of brightness in [0, 1]: 255ths in one order of operations or another


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the tables of this topic.

    Raises:
        MissingDataError: There is no zip of LIDC.
    """
    archive = settings.data_root and settings.data_root / ARCHIVE
    if archive is None or not archive.is_file():
        raise MissingDataError(
            f"there is no {archive or ARCHIVE}; pass --data-root, or set PROBSEG_DATA, to a folder "
            "that holds it"
        )
    with tempfile.TemporaryDirectory() as scratch:
        settings.watch(f"packing {archive.name}")
        packing, folder = _packing(archive, Path(scratch))
        yield packing
        yield _reading(folder, archive, settings)


def _packing(archive: Path, cache: Path) -> tuple[Comparison, Path]:
    """Pack the zip once, in a process of its own; return the table and the packed folder."""
    with Worker(Pack, {"archive": archive, "cache": cache}) as worker:
        seconds, memory, packed = worker.seconds(), worker.memory(), worker.answer()
    row = Row(name="probseg", seconds=[seconds], ratios=[1.0], **memory, agreement="")
    note = f"{packed['samples']:,} samples; at its peak a process held {row.peak:,.0f} MB."
    return Comparison(title="Packing, once", rows=[row], notes=[note]), packed["folder"]


def _reading(folder: Path, archive: Path, settings: Settings) -> Comparison:
    batch = settings.size(32, 2)
    candidates = [
        Candidate(
            name="packed cache",
            make=Read,
            options={"open_data": open_packed, "path": folder, "batch": batch},
        ),
        Candidate(
            name="PNG files in the zip",
            make=Read,
            options={"open_data": open_archive, "path": archive, "batch": batch},
            agree=agree,
        ),
    ]
    title = f"A batch of {batch} random images with four masks, one process"
    comparison = compare(title, candidates, settings)
    rates = ", ".join(f"{row.name} {batch / row.median:,.0f}" for row in comparison.rows)
    held = ", ".join(f"{row.name} {row.start:,.0f}" for row in comparison.rows)
    notes = [f"Images a second: {rates}.", f"MB resident once opened: {held}."]
    return replace(comparison, notes=notes)


class Opened(NamedTuple):
    """Data that can be read."""

    length: int
    read: Callable[[Sequence[int]], Batch]


class Read(Workload):
    """Reads random batches.

    Args:
        open_data: Opens the file or folder.
        path: Of the file or folder.
        batch: Images in a batch.
    """

    def __init__(self, *, open_data: Callable[[Path], Opened], path: Path, batch: int) -> None:
        # The allocator's state of a process that trains, for all layouts: see
        # probseg.datasets.cache.dataset.
        np.empty(31 << 20, np.uint8)
        self.data = open_data(path)
        self.random, self.batch = np.random.default_rng(0), batch

    def run(self) -> None:
        """Read a batch."""
        self.data.read(self.random.integers(self.data.length, size=self.batch).tolist())

    def answer(self) -> dict[str, Any]:
        """Return the first samples."""
        batch = self.data.read(range(COMPARED))
        return {"images": batch.image.numpy(), "masks": batch.masks.numpy()}


def open_packed(folder: Path) -> Opened:
    """Open a packed cache."""
    from probseg.datasets.cache.dataset import PackedDataset

    dataset = PackedDataset(folder)
    return Opened(len(dataset), dataset.batch)


def open_archive(path: Path) -> Opened:
    """List a zip of PNG files, which are decoded on request."""
    import torch

    from probseg.datasets.formats.files import Archive
    from probseg.datasets.lidc.png import LidcPngs
    from probseg.interfaces import Batch

    source = LidcPngs(Archive(path), "slices")
    samples = source.items()

    def read(indices: Sequence[int]) -> Batch:
        records = [record for index in indices for record in source.read(samples[index])]
        images = np.stack([record.image for record in records]) / 255
        masks = np.stack([record.masks for record in records])
        return Batch(torch.from_numpy(images.astype(np.float32)), torch.from_numpy(masks))

    return Opened(len(samples), read)


class Pack(Workload):
    """Packs a zip of PNG files.

    Args:
        archive: The zip.
        cache: Folder of packed data sets.
    """

    def __init__(self, *, archive: Path, cache: Path) -> None:
        self.archive, self.cache = archive, cache

    def run(self) -> PackedDataset:
        """Pack it; where that was done, open it."""
        from joblib.externals.loky import get_reusable_executor

        from probseg.datasets.lidc import lidc

        dataset = lidc(self.archive, cache=self.cache, progress=False)
        get_reusable_executor().shutdown(wait=True)  # only workers that ended are counted
        return dataset

    def answer(self) -> dict[str, Any]:
        """Return the packed folder and the number of samples."""
        dataset = self.run()
        return {"folder": dataset.folder, "samples": len(dataset)}


def agree(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Say that two layouts give the same images and masks.

    Raises:
        Disagreement: They do not.
    """
    difference = float(np.abs(ours["images"] - theirs["images"]).max())
    if difference > TOLERANCE or not np.array_equal(ours["masks"], theirs["masks"]):
        raise Disagreement("their first samples are not the same images and masks")
    return "the same images and masks"
