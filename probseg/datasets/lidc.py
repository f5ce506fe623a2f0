"""LIDC-IDRI: lung nodules in real CT, each outlined by up to four radiologists."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from probseg.datasets.filetree import Archive, FileTree, Folder
from probseg.datasets.lidc_slices import LidcSlices, worth_entering
from probseg.datasets.packed import META, PackedDataset
from probseg.datasets.packing import cache_root, find_or_pack
from probseg.datasets.sources import OnFault
from probseg.errors import DataError, MissingDataError

ARCHIVE = "lidc_slices.zip"


def lidc(
    root: str | os.PathLike[str] | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
) -> PackedDataset:
    """Return LIDC-IDRI as 128x128 slices with four masks each, packed at the first use.

    Masks of a nodule's missing readers are empty, and which of the four slots a reader has means
    nothing. Images were stretched to their own minimum and maximum.

    Args:
        root: A folder ``LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png``, one that
            holds it, a zip file of it, a folder with ``lidc_slices.zip``, or a packed cache; by
            default the environment variable PROBSEG_DATA.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.

    Raises:
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        WriteError: The cache cannot be written.

    References:
        Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource
        Initiative (IDRI)", Medical Physics 38(2), 2011.
    """
    place = _place(root)
    if (place / META).is_file():
        return PackedDataset(place)
    tree = _open(place)
    key = hashlib.blake2b(str(place).encode("utf-8", "replace"), digest_size=6).hexdigest()
    folder = cache_root(cache) / f"lidc-{key}"
    return find_or_pack(LidcSlices(tree), folder, progress=progress, on_fault=on_fault)


def _place(root: str | os.PathLike[str] | None) -> Path:
    given = root or os.environ.get("PROBSEG_DATA")
    if not given:
        raise MissingDataError(
            "lidc needs a data root: pass root=, or set the environment variable PROBSEG_DATA, to "
            f"{_WANTED}"
        )
    place = Path(given).expanduser().resolve()
    if not place.exists():
        raise MissingDataError(f"there is no {place}; the root of lidc is {_WANTED}")
    archive = place / ARCHIVE
    return archive if archive.is_file() else place


def _open(place: Path) -> FileTree:
    if place.is_dir():
        return Folder(place, worth_entering)
    if place.suffix.lower() != ".zip":
        raise DataError(
            f"{place} is neither a folder nor a zip file; the root of lidc is {_WANTED}"
        )
    return Archive(place)


_WANTED = (
    "a folder LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png, a zip file of it, or a "
    f"folder that holds {ARCHIVE}"
)
