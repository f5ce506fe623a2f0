"""Your own data: a folder of images, and for each image a folder of its annotators' masks."""

from __future__ import annotations

import csv
import io
import os
import re
from functools import cached_property
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_folder, open_or_pack
from probseg.datasets.cache.source import Block, OnFault, Record, chunked, read_block
from probseg.datasets.formats.files import FileTree, in_file, printable
from probseg.datasets.formats.images import SUFFIXES, Picture, read_picture, stem_and_suffix
from probseg.datasets.formats.preprocessing import (
    as_labels,
    check_finite,
    check_size,
    resize_images,
    resize_masks,
    stretch,
)
from probseg.datasets.roots import (
    SampleFiles,
    check_unique,
    find_root,
    is_packed,
    list_contents,
    open_root,
)
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError, OptionError

_GROUPS = "groups.csv"
_LAYOUT = "images/ID.png and masks/ID/ANNOTATOR.png (or .tif, .npy, .nii.gz)"
_WANTED = f"a folder or zip file with {_LAYOUT}"

# A zip file may have all of it in one folder.
_FILE = re.compile(r"(?:[^/]+/)?(?:images|masks/(?P<id>[^/]+))/(?P<file>[^/]+)")
_TABLE = re.compile(rf"(?:[^/]+/)?{re.escape(_GROUPS)}", re.IGNORECASE)
_SYSTEM_FILES = re.compile(r"\.|(?:thumbs\.db|desktop\.ini)\Z", re.IGNORECASE)
_LARGEST, _LARGEST_TABLE = 1 << 28, 1 << 26  # bytes of a file
_CHUNK = 8  # samples that are read at once


def folder(
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
    classes: int = 2,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
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
            255 may stand for 1.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.

    Raises:
        OptionError: The size or the number of classes is out of range.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        WriteError: The cache cannot be written.
    """
    check_size(size)
    if not 2 <= classes <= 256:
        raise OptionError(f"classes must be 2 to 256, the background included, not {classes}")
    path = find_root(root, "folder", _WANTED)
    if is_packed(path):
        return PackedDataset(path)
    tree = open_root(path, _may_enter, "folder", _WANTED)
    source = FolderSource(tree, size=size, classes=classes)
    target = cache_folder(cache, "folder", path, size, classes)
    return open_or_pack(source, target, progress=progress, on_fault=on_fault)


class ImageKind(NamedTuple):
    """What all images must have in common."""

    channels: int
    eight_bit: bool
    size: tuple[int, int]


class FolderSource:
    """The samples of a tree, in natural order of their ids.

    Args:
        tree: The files.
        size: Edge of the images; None leaves them as they are, if they are all of one size.
        classes: Number of classes in the masks.

    Raises:
        MissingDataError: The tree has another layout.
        DataError: Two files have the same purpose, or the groups cannot be read.
    """

    name = "folder"

    def __init__(self, tree: FileTree, *, size: int | None, classes: int) -> None:
        self._tree, self._size, self.classes = tree, size, classes
        self._files, self._groups = _find_files(tree), _read_groups(tree)
        names = {name for files in self._files.values() for name in files.masks}
        self._annotators = sorted(names, key=natural)
        self.provenance = f"your own data: {printable(tree.root.name)}"
        self.state = {
            "layout": "folder",
            "size": size,
            "classes": classes,
            "annotators": self._annotators,
            **tree.state,
        }

    def __len__(self) -> int:
        return len(self._files)

    def chunks(self) -> list[list[str]]:
        """Return the ids of samples that have an image and masks, some of them at a time."""
        return chunked(self._complete, _CHUNK)  # type: ignore[return-value]  # slices of a list

    def faults(self) -> list[str]:
        """Return what the incomplete samples lack."""
        lacking = ((name, self._lacking(name)) for name in self._files)
        return [f"{name}: {reason}" for name, reason in lacking if reason]

    def read(self, chunk: list[str]) -> Block:
        """Read some samples."""
        return read_block(chunk, self._read)

    def _read(self, name: str) -> Record:
        image = self._image(name)
        height, width = image.pixels.shape[1:]
        masks = np.zeros((1, len(self._annotators), height, width), np.uint8)
        for annotator, files in self._files[name].masks.items():
            masks[0, self._annotators.index(annotator)] = self._mask(files[0], image)
        size = (self._size, self._size) if self._size else (height, width)
        return Record(
            name,
            self._groups.get(name, name),
            self._scaled(resize_images(image.pixels[None], size))[0],
            resize_masks(masks, size)[0],
            np.isin(self._annotators, list(self._files[name].masks)),
            image.spacing * (height, width) / size,
        )

    def _scaled(self, images: NDArray[Any]) -> NDArray[Any]:
        return np.rint(images).astype(np.uint8) if self._kind.eight_bit else stretch(images)

    def _image(self, name: str) -> Picture:
        file = self._files[name].images[0]
        with in_file(file):
            image = self._picture(file)
            self._check(_kind_of(image))
            return image

    def _mask(self, file: str, image: Picture) -> NDArray[np.uint8]:
        with in_file(file):
            mask = self._picture(file, image).pixels
            if len(mask) > 1:
                raise DataError(f"has {len(mask)} channels; a mask has one")
            if mask.shape[1:] != image.pixels.shape[1:]:
                raise DataError(f"is {_edges(mask)}, its image {_edges(image.pixels)}")
            return as_labels(mask[0], self.classes)

    def _picture(self, file: str, image: Picture | None = None) -> Picture:
        return read_picture(self._tree.read(file, _LARGEST), stem_and_suffix(file)[1], image)

    def _check(self, kind: ImageKind) -> None:
        """Refuse an image of another kind than the first."""
        first = self._kind
        if kind.channels != first.channels:
            raise DataError(f"has {kind.channels} channels, the first image {first.channels}")
        if kind.eight_bit != first.eight_bit:
            depths = ("not 8-bit", "8-bit")
            raise DataError(
                f"is {depths[kind.eight_bit]}, the first image {depths[first.eight_bit]}"
            )
        if self._size is None and kind.size != first.size:
            sizes = ["x".join(map(str, one.size)) for one in (kind, first)]
            raise DataError(f"is {sizes[0]}, the first image {sizes[1]}; pass size= to resize all")

    @cached_property
    def _complete(self) -> list[str]:
        return [name for name in self._files if not self._lacking(name)]

    @cached_property
    def _kind(self) -> ImageKind:
        """Kind of the first image that can be read."""
        for name in self._complete:
            try:
                return _kind_of(self._picture(self._files[name].images[0]))
            except DataError:
                continue  # is reported when it is read
        raise DataError(f"{self._tree.root}: no image can be read")

    def _lacking(self, name: str) -> str:
        files = self._files[name]
        if files.unclear:
            return f"{printable(files.unclear[0])} is none of {', '.join(SUFFIXES)}"
        if not files.images:
            return f"has no image images/{name}.png"
        if not files.masks:
            return f"has no annotation masks/{name}/ANNOTATOR.png"
        if self._groups and name not in self._groups:
            return f"has no group in {_GROUPS}, where an id is an image's name without its suffix"
        return ""


def _kind_of(image: Picture) -> ImageKind:
    channels, height, width = image.pixels.shape
    check_finite(image.pixels)
    return ImageKind(channels, image.pixels.dtype == np.uint8, (height, width))


def _edges(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[2]}"


def _may_enter(folder: str) -> bool:
    """Return whether a folder of this relative name belongs to the layout."""
    return re.fullmatch(r"images|masks(/[^/]+)?", folder) is not None


def _find_files(tree: FileTree) -> dict[str, SampleFiles]:
    """Return the files of each sample, in natural order of the ids.

    Raises:
        MissingDataError: There are none.
        DataError: A sample has two images, or two masks of one annotator.
    """
    index: dict[str, SampleFiles] = {}
    for path in tree.names():
        match = _FILE.fullmatch(normalize("NFC", path))  # some systems decompose accents
        if match and not _SYSTEM_FILES.match(match["file"]):
            stem, suffix = stem_and_suffix(printable(match["file"]))
            files = index.setdefault(printable(match["id"] or stem), SampleFiles([], {}, []))
            if not suffix:
                files.unclear.append(path)
            elif match["id"]:
                files.masks.setdefault(stem, []).append(path)
            else:
                files.images.append(path)
    if not any(files.images for files in index.values()):
        raise MissingDataError(
            f"{tree.root} holds no {_LAYOUT}; it holds: {list_contents(tree.root)}"
        )
    check_unique(tree.root, index.values())
    return {name: index[name] for name in sorted(index, key=natural)}


def _read_groups(tree: FileTree) -> dict[str, str]:
    """Return the group of each id, or nothing where there is no ``groups.csv``.

    Raises:
        DataError: It is no such table, or an id is in it twice.
    """
    files = [name for name in tree.names() if _TABLE.fullmatch(name)]
    if len(files) > 1:
        raise DataError(f"{tree.root}: {files[0]} is there twice, also as {files[1]}")
    return _parse(tree, files[0]) if files else {}


def _parse(tree: FileTree, file: str) -> dict[str, str]:
    try:
        text = tree.read(file, _LARGEST_TABLE).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(normalize("NFC", text), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{tree.root}/{file} is no CSV file in UTF-8 ({error})") from error
    head, *rows = [[cell.strip() for cell in row] for row in rows if any(row)] or [[]]
    wrong = [row for row in rows if len(row) != 2 or not all(row)]
    if head != ["id", "group"] or wrong:
        row = head if head != ["id", "group"] else wrong[0]
        raise DataError(
            f"{tree.root}/{file} must have two columns, headed id,group and separated by commas; "
            f"it has the row {','.join(row)!r}"
        )
    groups: dict[str, str] = {}
    for name, group in rows:
        if groups.setdefault(name, group) != group:
            raise DataError(f"{tree.root}/{file} gives {name} two groups")
    return groups
