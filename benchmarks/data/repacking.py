"""Any data set as a packed folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from probseg.datasets.cache.dataset import ARRAYS, META, PackedDataset
from probseg.datasets.cache.packing import pack
from probseg.datasets.cache.source import Block
from probseg.interfaces import Dataset
from probseg.utils.atomic_files import atomic_folder

CHUNK = 64  # samples


def repack(dataset: Dataset, folder: Path) -> PackedDataset:
    """Write a data set to a folder, in place of a packed one that is there, and open it.

    Raises:
        WriteError: The folder cannot be written.
    """
    if not isinstance(dataset, PackedDataset):
        pack(Samples(dataset), folder)
    elif not (folder.is_dir() and folder.samefile(dataset.folder)):
        _copy(dataset, folder)
    return PackedDataset(folder)


def _copy(dataset: PackedDataset, folder: Path) -> None:
    with atomic_folder(folder) as temporary:
        for name in (*ARRAYS, META):
            shutil.copy2(dataset.folder / name, temporary)  # with the times that meta.json holds


class Samples:
    """The samples of a data set as a source, its images as float16.

    Args:
        dataset: What to pack; it pickles.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.classes = dataset.classes
        self.provenance = dataset.provenance
        self.state: dict[str, Any] = {"path": dataset.name, "fingerprint": dataset.fingerprint}

    def __len__(self) -> int:
        return len(self.dataset)

    def chunks(self) -> list[range]:
        """Return the samples' indices, some at a time."""
        count = len(self)
        return [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]

    def faults(self) -> list[str]:
        """Return nothing: the data set can be read."""
        return []

    def read(self, chunk: range) -> Block:
        """Read some samples."""
        image, masks, present = self.dataset.__getitems__(chunk)
        groups = [str(self.dataset.groups[index]) for index in chunk]
        return Block(
            ids=[f"{group}/{index}" for group, index in zip(groups, chunk, strict=True)],
            groups=groups,
            images=image.numpy().astype(np.float16),
            masks=masks.numpy(),
            present=None if present is None else present.numpy(),
        )
