"""Your own data: a folder of images, and for each image a folder of its annotators' masks."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.annotated_files import AnnotatedFiles, SampleFiles
from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_folder, open_or_pack
from probseg.datasets.cache.source import OnFault
from probseg.datasets.formats.files import FileTree, printable
from probseg.datasets.formats.images import SUFFIXES, Picture, read_picture, stem_and_suffix
from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.preprocessing import check_size
from probseg.datasets.roots import find_root, is_packed, list_contents, open_root
from probseg.errors import DataError, MissingDataError, OptionError

_GROUPS = "groups.csv"
_LAYOUT = "images/ID.png and masks/ID/ANNOTATOR.png (or .tif, .npy, .nii.gz)"
_WANTED = f"a folder or zip file with {_LAYOUT}"

# A zip file may have all of it in one folder.
_FILE = re.compile(r"(?:[^/]+/)?(?:images|masks/(?P<id>[^/]+))/(?P<file>[^/]+)")
_TABLE = re.compile(rf"(?:[^/]+/)?{re.escape(_GROUPS)}", re.IGNORECASE)
_SYSTEM_FILES = re.compile(r"\.|(?:thumbs\.db|desktop\.ini)\Z", re.IGNORECASE)
_MOST_COUNTED = 32  # classes: of more values, a mask may rather be a photograph
_LARGEST, _LARGEST_TABLE = 1 << 28, 1 << 26  # bytes of a file


def folder(
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
    classes: int | None = None,
    values: Mapping[Any, Any] | None = None,
    threshold: float | None = None,
    invert: bool = False,
    soft: bool = False,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
    pack: bool = True,
) -> PackedDataset:
    """Return your own images with all their annotations, packed at the first use.

    ``images/ID.png`` is the image of a sample and ``masks/ID/ANNOTATOR.png`` an annotator's mask of
    it; either may be ``.png``, ``.tif``, ``.npy`` (H, W) or (H, W, C), or ``.nii.gz``. The
    annotators are all the names in natural order, ``dataset.source_state["annotators"]``; an
    annotator without a mask of an image is not ``present`` there. A table ``groups.csv``, headed
    ``id,group``, gives the patient of each sample; without it each is a group of its own.

    8-bit images are kept as they are, 0 to 255 for [0, 1]; any others are stretched to their own
    minimum and maximum, channel by channel.

    Args:
        root: The folder, a zip file of it, or a packed cache; by default the environment variable
            PROBSEG_DATA.
        size: Edge of the images in pixels: images are resized by antialiased linear
            interpolation, masks by nearest neighbour. None leaves them as they are, which is
            possible where all are of one size.
        classes: Number of classes; masks have the values 0 to ``classes`` - 1, and of two classes
            255 may stand for 1. None counts them while packing: the values 0, 1, 2, … of all
            masks, as far as none is left out; 255 means two.
        values: What values of mask files mean, such as ``{255: "ignore", 7: 2}``: a class, or that
            nobody labelled such pixels, which then count for nothing. Other values are classes.
        threshold: Makes two classes of grey or soft masks: what is above this value, in the file's
            own units, is foreground.
        invert: Whether masks of two classes are 0 where the structure is.
        soft: Whether masks are probabilities of the foreground and learned as such: floating from
            0 to 1, or integers, of which 255 is a probability of one if any is above 1.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.
        pack: Whether to pack data that are not packed yet, which may take minutes.

    Raises:
        OptionError: An option is out of range, or two contradict each other.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        NotPackedError: They are not packed, and ``pack`` is false.
        WriteError: The cache cannot be written.
    """
    check_size(size)
    if classes is not None and not 2 <= classes <= 256:
        raise OptionError(f"classes must be 2 to 256, the background included, not {classes}")
    masks = MaskValues.of(values, threshold=threshold, invert=invert, soft=soft, classes=classes)
    path = find_root(root, "folder", _WANTED)
    if is_packed(path):
        return PackedDataset(path)
    tree = open_root(path, _may_enter, "folder", _WANTED)
    source = FolderSource(tree, size=size, classes=classes, masks=masks)
    target = cache_folder(cache, "folder", path, size, classes, *masks.state.items())
    return open_or_pack(source, target, progress=progress, on_fault=on_fault, pack=pack)


class FolderSource(AnnotatedFiles):
    """The samples of a tree; each annotator is a name of mask files.

    Raises:
        MissingDataError: The tree has another layout.
        DataError: Two files have the same purpose, or the groups cannot be read.
    """

    name = "folder"
    keeps_bytes = True

    def __init__(
        self,
        tree: FileTree,
        *,
        size: int | None,
        classes: int | None,
        masks: MaskValues = MaskValues(),  # noqa: B008  # is frozen
    ) -> None:
        super().__init__(tree, size)
        self._classes, self._groups, self._masks = classes, _read_groups(tree), masks
        self.ignore_index, self.soft = masks.ignore_index, masks.soft
        self.provenance = f"your own data: {printable(tree.root.name)}"
        self.state = {
            "layout": "folder",
            "size": size,
            "classes": classes if classes is not None else "counted",
            "annotators": self.annotators,
            **masks.state,
            **tree.state,
        }

    def collect(self, samples: defaultdict[str, SampleFiles]) -> None:
        """Collect the images and masks."""
        for path in self.tree.names():
            match = _FILE.fullmatch(normalize("NFC", path))  # some systems decompose accents
            if match and not _SYSTEM_FILES.match(match["file"]):
                stem, suffix = stem_and_suffix(printable(match["file"]))
                files = samples[printable(match["id"] or stem)]
                if suffix:
                    files.add(path, stem if match["id"] else None)
                else:
                    files.unclear.append(path)
        if not any(files.images for files in samples.values()):
            unclear = [file for files in samples.values() for file in files.unclear]
            contents = f"it holds: {list_contents(self.tree.root)}"
            what = _unclear(unclear[0]) if unclear else contents
            raise MissingDataError(f"{self.tree.root} holds no {_LAYOUT}; {what}")

    @cached_property
    def classes(self) -> int:  # type: ignore[override]  # a constant of other layouts
        """Number of classes: as given, or counted in the masks that can be read."""
        if self._classes is not None:
            return self._classes
        if self._masks.two_classes:
            return 2
        with ThreadPoolExecutor() as pool:
            values = self._masks.classes_of(set().union(*pool.map(self._values, self.items())))
        counted = 2 if 255 in values else next(value for value in count() if value not in values)
        return counted if 2 < counted <= _MOST_COUNTED else 2

    def _values(self, name: str) -> set[float]:
        """Return the values in the masks of a sample; damaged files are told when they are read."""
        files, values = self.files[name], set[float]()
        with suppress(DataError):
            image = self.open(files.images[0])
            for file, *_ in files.masks.values():
                pixels = self.open(file, image).pixels
                values.update(np.unique(pixels).tolist() if len(pixels) == 1 else ())
        return values

    def open(self, file: str, image: Picture | None = None) -> Picture:
        """Read an image, or the mask of one."""
        return read_picture(self.tree.read(file, _LARGEST), stem_and_suffix(file)[1], image)

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return the classes of a mask, or its probabilities."""
        return self._masks.read(mask, self.classes)

    def group(self, name: str) -> str:
        """Return the group in the table, or else the name."""
        return self._groups.get(name, name)

    def lacking(self, name: str) -> str:
        """Return what a sample lacks, or nothing."""
        files = self.files[name]
        if files.unclear:
            return _unclear(files.unclear[0])
        if not files.images:
            return f"has no image images/{name}.png"
        if not files.masks:
            return f"has no annotation masks/{name}/ANNOTATOR.png"
        if self._groups and name not in self._groups:
            return f"has no group in {_GROUPS}, where an id is an image's name without its suffix"
        return ""


def _unclear(file: str) -> str:
    return f"{printable(file)} is none of {', '.join(SUFFIXES)}; convert it to one of them"


def _may_enter(folder: str) -> bool:
    """Return whether a folder of this relative name belongs to the layout."""
    return re.fullmatch(r"images|masks(/[^/]+)?", folder) is not None


def _read_groups(tree: FileTree) -> dict[str, str]:
    """Return the group of each id, or nothing where there is no ``groups.csv``.

    Raises:
        DataError: It is no such table, or an id is in it twice.
    """
    files = [name for name in tree.names() if _TABLE.fullmatch(name)]
    if len(files) > 1:
        raise DataError(f"{tree.root}: {files[0]} occurs twice, also as {files[1]}")
    if not files:
        return {}
    return _parse_groups(tree.read(files[0], _LARGEST_TABLE), f"{tree.root}/{files[0]}")


def read_groups(file: str | os.PathLike[str]) -> dict[str, str]:
    """Return the group of each id from a CSV file headed ``id,group``.

    Raises:
        DataError: There is no such file, it is no such table, or an id is in it twice.
    """
    try:
        return _parse_groups(Path(file).read_bytes(), str(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from error


def _parse_groups(data: bytes, file: str) -> dict[str, str]:
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(normalize("NFC", text), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is no CSV file in UTF-8 ({error})") from error
    head, *rows = [[cell.strip() for cell in row] for row in rows if any(row)] or [[]]
    wrong = [row for row in rows if len(row) != 2 or not all(row)]
    if head != ["id", "group"] or wrong:
        row = head if head != ["id", "group"] else wrong[0]
        raise DataError(
            f"{file} must have two columns, headed id,group and separated by commas; "
            f"it has the row {','.join(row)!r}"
        )
    groups: dict[str, str] = {}
    for name, group in rows:
        if groups.setdefault(name, group) != group:
            raise DataError(f"{file} gives {name} two groups")
    return groups
