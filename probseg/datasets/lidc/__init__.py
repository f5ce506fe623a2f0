"""LIDC-IDRI: lung nodules in real CT, each outlined by up to four radiologists."""

from __future__ import annotations

import os
from pathlib import Path

from probseg.datasets.cache.packed import PackedDataset
from probseg.datasets.cache.packing import cache_root, find_or_pack
from probseg.datasets.cache.sources import OnFault
from probseg.datasets.lidc.layouts import LAYOUTS, PACKED, find, known_layouts
from probseg.errors import MissingDataError
from probseg.options import listing


def lidc(
    root: str | os.PathLike[str] | None = None,
    *,
    layout: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
) -> PackedDataset:
    """Return LIDC-IDRI as crops of nodules with four masks each, packed at the first use.

    Masks of a nodule's missing readers are empty, and which of the four slots a reader has means
    nothing. Crops are 128x128, or 180x180 at 0.5 mm in the layout "crops".

    Args:
        root: A folder, zip file or pickle in a layout that circulates, or a folder that holds one;
            by default the environment variable PROBSEG_DATA.
        layout: ``"slices"``, ``"crops"``, ``"pickle"``, ``"dicom"`` (cut as
            :func:`~probseg.datasets.lidc.dicom.prepare_lidc` does, by default) or ``"packed"``; by
            default the one that is recognised at the root.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.

    Raises:
        MissingDataError: There is no such data.
        DataError: The data are incomplete, damaged or unsafe; the message names the files.
        OptionError: There is no such layout, or the root has several.
        WriteError: The cache cannot be written.

    References:
        Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource
        Initiative (IDRI)", Medical Physics 38(2), 2011.
    """
    caches = cache_root(cache)
    known, place = find(_given(root), layout, caches)
    if known == PACKED:
        return PackedDataset(place.path)
    source = LAYOUTS[known](place)
    return find_or_pack(source, place.cache(caches, layout), progress=progress, on_fault=on_fault)


def _given(root: str | os.PathLike[str] | None) -> Path:
    given = root or os.environ.get("PROBSEG_DATA")
    if not given:
        raise MissingDataError(
            "lidc needs a data root: pass root=, or set the environment variable PROBSEG_DATA, to "
            f"a folder, zip file or pickle of it; layouts are {listing([*LAYOUTS, PACKED])}"
        )
    place = Path(os.path.realpath(Path(given).expanduser()))
    if not place.exists():
        raise MissingDataError(f"there is no {place}; the root of lidc is {known_layouts()}")
    return place
