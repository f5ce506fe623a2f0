"""LIDC-IDRI: lung nodules in real CT, each outlined by up to four radiologists."""

from __future__ import annotations

import os

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_root, open_or_pack
from probseg.datasets.cache.source import OnFault
from probseg.datasets.lidc.layouts import PACKED, SOURCES, describe_layouts, find_layout
from probseg.datasets.roots import find_root


def lidc(
    root: str | os.PathLike[str] | None = None,
    *,
    layout: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
) -> PackedDataset:
    """Return LIDC-IDRI as crops of nodules with four masks each, packed at the first use.

    Masks of a nodule's missing readers are empty, and the order of the readers has no meaning.
    Crops are 128x128, or 180x180 at 0.5 mm in the layout "crops".

    Args:
        root: A folder, zip file or pickle in one of the layouts, or a folder that holds one; by
            default the environment variable PROBSEG_DATA.
        layout: ``"slices"``, ``"crops"``, ``"pickle"``, ``"dicom"`` (cut as by
            :func:`~probseg.datasets.lidc.dicom.prepare_lidc` with its defaults) or ``"packed"``;
            by default the one that is recognised at the root.
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
    path, caches = find_root(root, "lidc", describe_layouts()), cache_root(cache)
    located = find_layout(path, layout, caches)
    if located.layout == PACKED:
        return PackedDataset(located.root.path)
    source = SOURCES[located.layout](located.root)
    folder = located.root.cache(caches, layout)
    return open_or_pack(source, folder, progress=progress, on_fault=on_fault)
