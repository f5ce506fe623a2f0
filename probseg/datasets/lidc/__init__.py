"""LIDC-IDRI: lung nodules in real CT, each outlined by up to four radiologists."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_root, open_or_pack
from probseg.datasets.cache.source import OnFault, Source
from probseg.datasets.formats.files import Archive, FileTree, Folder
from probseg.datasets.lidc.dicom import LidcDicom
from probseg.datasets.lidc.pickle import LidcPickle
from probseg.datasets.lidc.png import PNG_LAYOUTS, LidcPngs
from probseg.datasets.roots import find_root, is_packed, list_contents
from probseg.errors import DataError, MissingDataError, OptionError
from probseg.options import check_choice, listing

PACKED = "packed"
LAYOUTS = ("crops", "dicom", "pickle", "slices", PACKED)
_OTHERS: dict[str, type[LidcDicom | LidcPickle]] = {"dicom": LidcDicom, "pickle": LidcPickle}
_PICKLES = (".pickle", ".pkl")
_DICOM_DEPTH = 5  # levels of folders above a series, as in TCIA's own downloads


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
    wanted = f"a folder, zip file or pickle of it; layouts are {listing(LAYOUTS)}"
    path, caches = find_root(root, "lidc", wanted), cache_root(cache)
    located = find_layout(path, layout, caches)
    if located.layout == PACKED:
        return PackedDataset(located.root.path)
    source, folder = located.root.source(located.layout), located.root.cache(caches, layout)
    return open_or_pack(source, folder, progress=progress, on_fault=on_fault)


class LidcRoot:
    """A folder or a file that holds LIDC, in any layout."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def tree(self) -> FileTree:
        """The files below the folder or in the zip file that it is."""
        return Folder(self.path, _may_enter) if self.path.is_dir() else Archive(self.path)

    def source(self, layout: str) -> Source:
        """Return the samples in a layout."""
        return LidcPngs(self.tree, layout) if layout in PNG_LAYOUTS else _OTHERS[layout](self.path)

    def cache(self, caches: Path, layout: str | None) -> Path:
        """Return the folder of its packed cache; a layout that the user named has its own."""
        key = hashlib.blake2b(str(self.path).encode("utf-8", "replace"), digest_size=6).hexdigest()
        return caches / "-".join(["lidc", *([layout] if layout else []), key])


class Located(NamedTuple):
    """A layout and its root."""

    layout: str
    root: LidcRoot


def find_layout(given: Path, layout: str | None, caches: Path) -> Located:
    """Return the one layout that is recognised at a root, or the one named.

    Args:
        given: A folder or file.
        layout: One of ``LAYOUTS``, or None to recognise it.
        caches: The folder of packed caches, in which the layout of a packed zip file is kept.

    Raises:
        OptionError: There is no such layout, or several are at the root and none was named.
        MissingDataError: No layout is recognised.
        DataError: The root cannot be listed.
    """
    if layout is not None:
        check_choice("layout", layout, LAYOUTS)
    if layout == PACKED or (layout is None and is_packed(given)):
        return Located(PACKED, LidcRoot(given))
    located = [one for one in _recognise(given, caches) if layout in (None, one.layout)]
    if not located and layout:
        return Located(layout, LidcRoot(given))  # its source says what is missing
    if len(located) == 1:
        return located[0]
    raise _several(given, located) if located else _none(given)


def describe_layouts() -> str:
    """Return a description of each layout, one a line."""
    descriptions = {layout: one.description for layout, one in {**PNG_LAYOUTS, **_OTHERS}.items()}
    descriptions[PACKED] = "a folder that probseg packed before"
    lines = [f"\n  {layout}: {descriptions[layout]}" for layout in sorted(LAYOUTS)]
    return f"a folder or zip file in one of these layouts, or a folder with it:{''.join(lines)}"


def _recognise(given: Path, caches: Path) -> list[Located]:
    files = _files(given) if given.is_dir() else [given]
    located = [one for file in files for one in _in_file(file, caches)]
    # PNG files beside a zip file of them are an unzipped copy, and not looked for.
    if given.is_dir() and not any(one.layout in PNG_LAYOUTS for one in located):
        located += _in_tree(LidcRoot(given), caches)
    if not located and given.is_dir() and _has_dicom(given):
        located.append(Located("dicom", LidcRoot(given)))
    return located


def _has_dicom(folder: Path) -> bool:
    for path, folders, files in os.walk(folder):
        if any(name.lower().endswith(".dcm") for name in files):
            return True
        if len(Path(path).relative_to(folder).parts) >= _DICOM_DEPTH:
            folders.clear()
    return False


def _files(folder: Path) -> list[Path]:
    """Return the zip and pickle files in a folder: those that are called lidc, if some are."""
    suffixes = (".zip", *_PICKLES)
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
        files = [path for path in files if path.is_file()]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror})") from error
    return [path for path in files if "lidc" in path.name.lower()] or files


def _in_file(path: Path, caches: Path) -> list[Located]:
    if path.suffix.lower() in _PICKLES:
        return [Located("pickle", LidcRoot(path))]
    return _in_tree(LidcRoot(path), caches) if path.suffix.lower() == ".zip" else []


def _in_tree(root: LidcRoot, caches: Path) -> list[Located]:
    if cached := _cached_layout(root, caches):
        return [Located(cached, root)]
    names = root.tree.names()
    return [
        Located(layout, root)
        for layout, pngs in PNG_LAYOUTS.items()
        if any(map(pngs.matches, names))
    ]


def _cached_layout(root: LidcRoot, caches: Path) -> str | None:
    """Return the layout that was recognised when the root was packed in the same state."""
    try:  # listing 70,000 members takes a hundred times as long
        packed = PackedDataset(root.cache(caches, None)).source_state
    except DataError:
        return None
    same = all(packed.get(key) == value for key, value in root.tree.state.items())
    return str(packed.get("layout")) if same else None


def _may_enter(folder: str) -> bool:
    """Return whether a layout may go on below a folder; two of any name may be above it."""
    in_layout = any(pngs.folder_pattern.fullmatch(folder) for pngs in PNG_LAYOUTS.values())
    return folder.count("/") < 2 or in_layout


def _none(given: Path) -> MissingDataError:
    packed = sorted(filter(is_packed, given.iterdir())) if given.is_dir() else []
    hint = f"; give a packed folder itself as the root: {packed[0]}" if packed else ""
    return MissingDataError(
        f"{given} has no LIDC, only {list_contents(given)}{hint}; the root of lidc is "
        f"{describe_layouts()}"
    )


def _several(given: Path, located: list[Located]) -> OptionError:
    lines = [f"\n  {one.layout}: {one.root.path}" for one in located]
    return OptionError(
        f"{given} has LIDC more than once; choose with layout=, or give one as the root:"
        f"{''.join(lines)}"
    )
