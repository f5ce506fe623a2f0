"""LIDC-IDRI: lung nodules in real CT, each outlined by up to four radiologists."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from probseg.datasets import preprocessing
from probseg.datasets.cache.dataset import PackedDataset, open_packed
from probseg.datasets.cache.packing import cache_root, open_or_pack
from probseg.datasets.cache.source import OnFault, Source
from probseg.datasets.formats.files import Archive, FileTree, Folder
from probseg.datasets.intensities import PERCENTILES
from probseg.datasets.lidc.cropping import LUNG, Window
from probseg.datasets.lidc.dicom import LidcDicom
from probseg.datasets.lidc.pickle import LidcPickle
from probseg.datasets.lidc.png import PNG_LAYOUTS, LidcPngs
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.roots import find_root, is_packed, list_contents
from probseg.errors import DataError, MissingDataError, OptionError
from probseg.options import check_choice, listing

PACKED = "packed"
LAYOUTS = ("crops", "dicom", "pickle", "slices", PACKED)
_OTHERS: dict[str, type[LidcDicom | LidcPickle]] = {"dicom": LidcDicom, "pickle": LidcPickle}
_CT_WINDOWS: dict[str | None, Window] = {"stretch": "crop", "percentiles": "percentiles"}
_PICKLES = (".pickle", ".pkl")
_DEPTHS = range(6)  # folders above a series; TCIA's own downloads have up to five


def lidc(
    root: str | os.PathLike[str] | None = None,
    *,
    layout: str | None = None,
    normalise: str | None = None,
    window: tuple[float, float] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
    pack: bool = True,
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
        normalise: ``"stretch"``, ``"percentiles"`` or ``"none"``, see
            :func:`probseg.datasets.folder.folder`; by default images are left as they are, and CT
            of the layout "dicom" is seen through the lung window, -1350 to 150.
        window: Two values that become 0 and 1, in the layout "dicom" Hounsfield units.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.
        pack: Whether to pack data that are not packed yet, which may take minutes.

    Raises:
        MissingDataError: There is no such data.
        DataError: The data are incomplete, damaged or unsafe; the message names the files.
        OptionError: There is no such layout, the root has several, or the window makes no sense.
        NotPackedError: They are not packed, and ``pack`` is false.
        WriteError: The cache cannot be written.

    References:
        Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource
        Initiative (IDRI)", Medical Physics 38(2), 2011.
    """
    wanted = f"a folder, zip file or pickle of it; layouts are {listing(LAYOUTS)}"
    wanted_images = preprocessing.wanted(normalise=normalise, window=window)
    path, caches = find_root(root, "lidc", wanted), cache_root(cache)
    if layout is not None:
        check_choice("layout", layout, LAYOUTS)
    if layout == PACKED or (layout is None and is_packed(path)):
        return open_packed(path, wanted_images)
    located = _find_layout(path, layout, caches)
    if _is_usual(wanted_images, located.layout):  # which shares the cache of no options
        wanted_images = Preprocessing()
    folder = _cache(caches, located.path, layout, wanted_images)
    source = located.source(wanted_images)
    return open_or_pack(source, folder, progress=progress, on_fault=on_fault, pack=pack)


class Located(NamedTuple):
    """A layout and where it is."""

    layout: str
    path: Path
    tree: FileTree | None = None  # the files there, if they were listed

    def source(self, wanted: Preprocessing) -> Source:
        """Return the samples."""
        if self.layout in PNG_LAYOUTS:
            return LidcPngs(self.tree or _list_files(self.path), self.layout, wanted)
        if self.layout == "pickle":
            return LidcPickle(self.path, wanted)
        return LidcDicom(self.path, window=_window_of(wanted))


def _is_usual(wanted: Preprocessing, layout: str) -> bool:
    """Return whether options ask for what is done anyway."""
    if layout == "dicom":
        return (wanted.normalise, wanted.window) == ("window", LUNG)
    return wanted.normalise == "none"


def _window_of(wanted: Preprocessing) -> Window:
    """Return the window of CT that options ask for.

    Raises:
        OptionError: CT would be left in Hounsfield units.
    """
    if wanted.normalise == "none":
        raise OptionError(
            'normalise="none" would leave CT in Hounsfield units, which networks do not take; give '
            'window=(LOW, HIGH), normalise="stretch" or "percentiles"'
        )
    if wanted.normalise == "window" and wanted.window:
        return wanted.window
    if wanted.normalise == "percentiles" and wanted.window != PERCENTILES:
        raise OptionError(
            f"the layout dicom knows the percentiles {PERCENTILES} only, not {wanted.window}; "
            "leave window= out"
        )
    return _CT_WINDOWS.get(wanted.normalise, LUNG)


def _list_files(path: Path) -> FileTree:
    return Folder(path, _may_enter) if path.is_dir() else Archive(path)


def _may_enter(folder: str) -> bool:
    """Return whether a layout may go on below a folder; two of any name may be above it."""
    in_layout = any(pngs.folder_pattern.fullmatch(folder) for pngs in PNG_LAYOUTS.values())
    return folder.count("/") < 2 or in_layout


def _cache(
    caches: Path, path: Path, layout: str | None, wanted: Preprocessing | None = None
) -> Path:
    """Return the folder of a packed cache; a layout or window that was named has its own."""
    options = wanted.options if wanted else {}
    if options:
        path = path / repr(options)
    key = hashlib.blake2b(str(path).encode("utf-8", "replace"), digest_size=6).hexdigest()
    return caches / "-".join(["lidc", *([layout] if layout else []), key])


def _find_layout(given: Path, layout: str | None, caches: Path) -> Located:
    """Return the one layout that is recognised in a folder or file, or the one named.

    Raises:
        OptionError: Several are there and none was named.
        MissingDataError: No layout is recognised.
        DataError: The folder or file cannot be listed.
    """
    located = [one for one in _recognise(given, caches) if layout in (None, one.layout)]
    if len(located) == 1:
        return located[0]
    if located:
        lines = [f"\n  {one.layout}: {one.path}" for one in located]
        raise OptionError(
            f"{given} has LIDC more than once; choose with layout=, or give one as the root:"
            f"{''.join(lines)}"
        )
    if layout:
        return Located(layout, given)  # its source says what is missing
    raise _nothing_known(given)


def _recognise(given: Path, caches: Path) -> list[Located]:
    if not given.is_dir():
        return _look_into(given, caches)
    located = [one for file in _files(given) for one in _look_into(file, caches)]
    # PNG files beside a zip file of them are an unzipped copy, and not looked for.
    if not any(one.layout in PNG_LAYOUTS for one in located):
        located += _look_into(given, caches)
    if not located and any(any(given.glob(f"{'*/' * depth}*.[dD][cC][mM]")) for depth in _DEPTHS):
        located.append(Located("dicom", given))
    return located


def _files(folder: Path) -> list[Path]:
    """Return the zip and pickle files in a folder: those that are called lidc, if some are."""
    suffixes = (".zip", *_PICKLES)
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
        files = [path for path in files if path.is_file()]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror})") from error
    return [path for path in files if "lidc" in path.name.lower()] or files


def _look_into(path: Path, caches: Path) -> list[Located]:
    """Return the layouts of a pickle, or of PNG files in a folder or zip file."""
    if path.suffix.lower() in _PICKLES and path.is_file():
        return [Located("pickle", path)]
    if path.suffix.lower() != ".zip" and not path.is_dir():
        return []
    tree = _list_files(path)
    if cached := _cached_layout(_cache(caches, path, None), tree):
        return [Located(cached, path, tree)]
    names = tree.names()
    here = [layout for layout, pngs in PNG_LAYOUTS.items() if any(map(pngs.matches, names))]
    return [Located(layout, path, tree) for layout in here]


def _cached_layout(cache: Path, tree: FileTree) -> str | None:
    """Return the layout that was recognised when a tree was packed in the same state."""
    try:  # listing 70,000 members takes a hundred times as long
        packed = PackedDataset(cache).source_state
    except DataError:
        return None
    same = all(packed.get(key) == value for key, value in tree.state.items())
    return str(packed.get("layout")) if same else None


def _nothing_known(given: Path) -> MissingDataError:
    packed = sorted(filter(is_packed, given.iterdir())) if given.is_dir() else []
    hint = f"; give a packed folder itself as the root: {packed[0]}" if packed else ""
    layouts: dict[str, Any] = {**PNG_LAYOUTS, **_OTHERS}
    lines = [f"\n  {layout}: {layouts[layout].description}" for layout in sorted(layouts)]
    return MissingDataError(
        f"{given} has no LIDC, only {list_contents(given)}{hint}; the root of lidc is a folder "
        "that probseg packed before, or a folder or zip file in one of these layouts, or a folder "
        f"with it:{''.join(lines)}\nThe scans are at cancerimagingarchive.net, collection LIDC-IDRI"
    )
