"""LIDC in the layouts that people read it from: what opens, reads, packs and pickles it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.speed.workers import largest_child, own_peak

if TYPE_CHECKING:  # torch takes seconds and 500 MB, which opening and packing need not spend
    from probseg.datasets.cache.dataset import PackedDataset
    from probseg.interfaces import Batch

COMPARED = 2  # samples in an answer


class Opened(NamedTuple):
    """Data that can be read."""

    length: int
    read: Callable[[Sequence[int]], Batch]


class Open:
    """Opens a layout.

    Args:
        layout: A name in ``LAYOUTS``.
        path: Where it lies.
    """

    def __init__(self, *, layout: str, path: Path) -> None:
        # The allocator's state of a process that trains, for all layouts: see
        # probseg.datasets.cache.dataset.
        np.empty(31 << 20, np.uint8)
        self.layout, self.path = layout, path

    def run(self) -> Opened:
        """Open it."""
        return LAYOUTS[self.layout](self.path)

    def answer(self) -> int:
        """Return how many samples there are."""
        return self.run().length


class Read:
    """Reads random batches of a layout.

    Args:
        layout: A name in ``LAYOUTS``.
        path: Where it lies.
        batch: Images in a batch.
    """

    def __init__(self, *, layout: str, path: Path, batch: int) -> None:
        self.data = Open(layout=layout, path=path).run()
        self.random, self.batch = np.random.default_rng(0), batch

    def run(self) -> None:
        """Read a batch."""
        self.data.read(self.random.integers(self.data.length, size=self.batch).tolist())

    def answer(self) -> dict[str, Any]:
        """Return the first samples."""
        batch = self.data.read(range(COMPARED))
        return {"images": batch.image.numpy(), "masks": batch.masks.numpy()}


class Pack:
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
        """Return where the packed samples are, how many, and the peaks of memory in MB."""
        peaks = {"process": own_peak(), "worker": largest_child()}
        dataset = self.run()
        return {"folder": dataset.folder, "samples": len(dataset), **peaks}


class WritePickle:
    """Writes the first samples of a packed cache in the layout of the pickle that circulates.

    Args:
        packed: The cache.
        path: Is written.
        count: How many samples.
    """

    def __init__(self, *, packed: Path, path: Path, count: int) -> None:
        self.packed, self.path, self.count = packed, path, count

    def run(self) -> None:
        """Write it."""
        from probseg.datasets.cache.dataset import PackedDataset

        dataset = PackedDataset(self.packed)
        samples = [dataset[index] for index in range(min(self.count, len(dataset)))]
        cases = {
            f"{sample.group}_{index}": {
                "image": sample.image[0].numpy(),
                "masks": list(sample.masks.numpy()),
                "series_uid": sample.group,
            }
            for index, sample in enumerate(samples)
        }
        with self.path.open("wb") as file:
            pickle.dump(cases, file, protocol=4)

    def answer(self) -> None:
        """There is nothing to compare."""


def open_packed(folder: Path) -> Opened:
    """Open a packed cache."""
    from probseg.datasets.cache.dataset import PackedDataset

    dataset = PackedDataset(folder)
    return Opened(len(dataset), dataset.__getitems__)


def open_archive(path: Path) -> Opened:
    """List a zip of PNG files, which are decoded when they are asked for."""
    from probseg.datasets.formats.files import Archive
    from probseg.datasets.lidc.png import LidcSlices

    source = LidcSlices(Archive(path))
    chunks = source.chunks()
    samples = [files for chunk in chunks for files in chunk.samples]

    def read(indices: Sequence[int]) -> Batch:
        block = source.read(chunks[0]._replace(samples=[samples[index] for index in indices]))
        return _batch(block.images / 255, block.masks)

    return Opened(len(samples), read)


def open_pickle(path: Path) -> Opened:
    """Load a pickle that this topic wrote, whole as there is no other way."""
    with path.open("rb") as file:
        cases = list(pickle.load(file).values())

    def read(indices: Sequence[int]) -> Batch:
        chosen = [cases[index] for index in indices]
        masks = np.stack([np.stack(case["masks"]) for case in chosen])
        return _batch(np.stack([case["image"][None] for case in chosen]), masks)

    return Opened(len(cases), read)


LAYOUTS: dict[str, Callable[[Path], Opened]] = {
    "packed": open_packed,
    "png": open_archive,
    "pickle": open_pickle,
}


def _batch(images: Any, masks: Any) -> Batch:
    import torch

    from probseg.interfaces import Batch

    return Batch(torch.from_numpy(images.astype(np.float32)), torch.from_numpy(masks))
