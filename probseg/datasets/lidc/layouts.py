"""The layouts in which LIDC circulates, and which of them is at a root."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from probseg.datasets.cache.packed import META, PackedDataset
from probseg.datasets.cache.sources import Source
from probseg.datasets.formats.filetree import Archive, FileTree, Folder
from probseg.datasets.lidc.crops import LidcCrops
from probseg.datasets.lidc.dicom import LidcDicom
from probseg.datasets.lidc.pickle import LidcPickle
from probseg.datasets.lidc.pngs import LidcPngs
from probseg.datasets.lidc.slices import LidcSlices
from probseg.errors import DataError, MissingDataError, OptionError
from probseg.options import did_you_mean, listing

PACKED = "packed"

_PNGS: dict[str, type[LidcPngs]] = {"crops": LidcCrops, "slices": LidcSlices}
_PICKLES = (".pickle", ".pkl")
_DICOM_DEPTH = 5  # folders that may stand above a series, as in TCIA's own downloads


class Root:
    """A folder or a file that has LIDC, in whatever layout.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def tree(self) -> FileTree:
        """The files below the folder or in the zip file that it is."""
        return Folder(self.path, _worth_entering) if self.path.is_dir() else Archive(self.path)

    def cache(self, caches: Path, layout: str | None) -> Path:
        """Return the folder of its packed cache; a layout that the user named has its own."""
        key = hashlib.blake2b(str(self.path).encode("utf-8", "replace"), digest_size=6).hexdigest()
        return caches / "-".join(["lidc", *([layout] if layout else []), key])


LAYOUTS: dict[str, Callable[[Root], Source]] = {
    "crops": lambda root: LidcCrops(root.tree),
    "dicom": lambda root: LidcDicom(root.path),
    "pickle": lambda root: LidcPickle(root.path),
    "slices": lambda root: LidcSlices(root.tree),
}


class Found(NamedTuple):
    """A layout and where it is."""

    layout: str
    root: Root


def find(given: Path, layout: str | None, caches: Path) -> Found:
    """Return what is at a root: the one layout that is recognised there, or the one named.

    Args:
        given: A folder or file.
        layout: A name of ``LAYOUTS`` or ``"packed"``, or None to look.
        caches: The folder of packed caches, which remember what a zip file holds.

    Raises:
        OptionError: There is no such layout, or several are there and none was named.
        MissingDataError: No layout is recognised.
        DataError: The root cannot be looked at.
    """
    if layout is not None and layout not in (*LAYOUTS, PACKED):
        raise OptionError(
            f"there is no layout {layout!r} of lidc{did_you_mean(layout, [*LAYOUTS, PACKED])}; "
            f"it can be {listing([*LAYOUTS, PACKED])}"
        )
    if layout == PACKED or (layout is None and (given / META).is_file()):
        return Found(PACKED, Root(given))
    if layout is not None and layout not in _RECOGNISED:
        return Found(layout, Root(given))
    found = [found for found in _look(given, caches) if layout in (None, found.layout)]
    if not found and layout:
        return Found(layout, Root(given))  # its reader tells what it misses
    if len(found) == 1:
        return found[0]
    raise _several(given, found) if found else _nothing(given)


def _look(given: Path, caches: Path) -> list[Found]:
    files = _files(given) if given.is_dir() else [given]
    found = [found for file in files for found in _in_file(file, caches)]
    # An unzipped copy beside its zip file is no second data set, and is not looked for.
    if given.is_dir() and not any(known.layout in _PNGS for known in found):
        found += _in_tree(Root(given), caches)
    if not found and given.is_dir() and _has_dicom(given):
        found.append(Found("dicom", Root(given)))
    return found


def _has_dicom(folder: Path) -> bool:
    for place, folders, files in os.walk(folder):
        if any(name.lower().endswith(".dcm") for name in files):
            return True
        if len(Path(place).relative_to(folder).parts) >= _DICOM_DEPTH:
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


def _in_file(path: Path, caches: Path) -> list[Found]:
    if path.suffix.lower() in _PICKLES:
        return [Found("pickle", Root(path))]
    return _in_tree(Root(path), caches) if path.suffix.lower() == ".zip" else []


def _in_tree(root: Root, caches: Path) -> list[Found]:
    if remembered := _remembered(root, caches):
        return [Found(remembered, root)]
    names = root.tree.names()
    return [Found(layout, root) for layout, pngs in _PNGS.items() if any(map(pngs.matches, names))]


def _remembered(root: Root, caches: Path) -> str | None:
    """Return the layout that was recognised when this same state was packed, if it was."""
    try:  # listing 70,000 members takes a hundred times as long
        stamp = PackedDataset(root.cache(caches, None)).stamp
    except DataError:
        return None
    same = all(stamp.get(key) == value for key, value in root.tree.stamp.items())
    return str(stamp.get("layout")) if same else None


def _worth_entering(folder: str) -> bool:
    """Whether a layout may go on below a folder: at most two of any name stand above it."""
    known = any(pngs.folder.fullmatch(folder) for pngs in _PNGS.values())
    return folder.count("/") < 2 or known


_RECOGNISED = {
    **{layout: pngs.looks for layout, pngs in _PNGS.items()},
    "dicom": LidcDicom.looks,
    "pickle": LidcPickle.looks,
}
_SEEN = 8  # names that an error lists


def known_layouts() -> str:
    """Return what each layout looks like, a line for each."""
    looks = _RECOGNISED | {PACKED: "a folder that probseg packed before"}
    lines = [f"{layout}: {looks[layout]}" for layout in sorted(looks)]
    return "\n  ".join(
        ["a folder or zip file in one of these layouts, or a folder with it:", *lines]
    )


def _nothing(given: Path) -> MissingDataError:
    here = sorted(os.listdir(given)) if given.is_dir() else [f"the file {given.name}"]
    more = [f"and {len(here) - _SEEN} more"] if len(here) > _SEEN else []
    seen = ", ".join([*here[:_SEEN], *more]) or "nothing"
    packed = [name for name in here if (given / name / META).is_file()]
    hint = f"; give a packed folder itself as the root: {given / packed[0]}" if packed else ""
    return MissingDataError(
        f"{given} has no LIDC, only {seen}{hint}; the root of lidc is {known_layouts()}"
    )


def _several(given: Path, found: list[Found]) -> OptionError:
    lines = [f"{known.layout}: {known.root.path}" for known in found]
    return OptionError(
        "\n  ".join(
            [
                f"{given} has LIDC more than once; choose with layout=, or give one as the root:",
                *lines,
            ]
        )
    )
