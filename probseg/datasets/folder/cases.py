"""The samples of anybody's own data; a source for the packed cache."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.places import named
from probseg.datasets.cache.sources import Block
from probseg.datasets.folder.index import GROUPS, find_files, read_groups
from probseg.datasets.formats.filetree import FileTree, printable
from probseg.datasets.formats.images import SUFFIXES, Picture, read_picture, stem_and_suffix
from probseg.datasets.formats.labels import as_labels
from probseg.datasets.formats.resize import check_finite, resize_images, resize_masks, stretch
from probseg.datasets.splits import natural
from probseg.errors import DataError

_LARGEST = 1 << 28  # bytes of a file as it lies
_CHUNK = 8  # samples that are read at once


class Row(NamedTuple):
    """One sample as it enters a block."""

    image: NDArray[Any]  # (C, H, W)
    masks: NDArray[np.uint8]  # (A, H, W)
    present: NDArray[np.bool_]  # (A,)
    spacing: NDArray[np.floating[Any]]  # (2,)


class Form(NamedTuple):
    """What all images have in common."""

    channels: int
    eight_bit: bool
    size: tuple[int, int]


class FolderCases:
    """The samples of a tree, in natural order of their ids.

    Args:
        tree: Where the files are.
        size: Edge of the pictures; None leaves them as they are, if they are all of one size.
        classes: Number of classes in the masks.

    Raises:
        MissingDataError: The tree has another layout.
        DataError: A file is there twice, or the groups cannot be read.
    """

    name = "folder"

    def __init__(self, tree: FileTree, *, size: int | None, classes: int) -> None:
        self._tree, self._size, self.classes = tree, size, classes
        self._files, self._groups = find_files(tree), read_groups(tree)
        names = {name for files in self._files.values() for name in files.masks}
        self._annotators = sorted(names, key=natural)
        self.provenance = f"your own data: {printable(tree.root.name)}"
        self.stamp = {
            "layout": "folder",
            "size": size,
            "classes": classes,
            "annotators": self._annotators,
            **tree.stamp,
        }

    def __len__(self) -> int:
        return len(self._files)

    def chunks(self) -> list[list[str]]:
        """Return the ids of samples that have an image and masks, some of them at a time."""
        whole = self._whole
        return [whole[start : start + _CHUNK] for start in range(0, len(whole), _CHUNK)]

    def faults(self) -> list[str]:
        """Return what the samples lack."""
        lacking = ((name, self._lacking(name)) for name in self._files)
        return [f"{name}: {reason}" for name, reason in lacking if reason]

    def read(self, chunk: list[str]) -> Block:
        """Read some samples."""
        rows, faults = {}, []
        for name in chunk:
            try:
                rows[name] = self._read(name)
            except DataError as error:
                faults.append(str(error))
        if not rows:
            nothing = np.zeros((0, len(self._annotators), 0, 0), np.uint8)
            return Block([], [], nothing, nothing, faults=faults)
        ids, groups = list(rows), [self._groups.get(name, name) for name in rows]
        images, masks, present, spacing = map(np.stack, zip(*rows.values(), strict=True))
        return Block(ids, groups, images, masks, present, spacing, faults)

    def _read(self, name: str) -> Row:
        image = self._image(name)
        height, width = image.pixels.shape[1:]
        masks = np.zeros((1, len(self._annotators), height, width), np.uint8)
        for annotator, files in self._files[name].masks.items():
            masks[0, self._annotators.index(annotator)] = self._mask(files[0], image)
        size = (self._size, self._size) if self._size else (height, width)
        return Row(
            self._values(resize_images(image.pixels[None], size))[0],
            resize_masks(masks, size)[0],
            np.isin(self._annotators, list(self._files[name].masks)),
            image.spacing * (height, width) / size,
        )

    def _values(self, images: NDArray[Any]) -> NDArray[Any]:
        return np.rint(images).astype(np.uint8) if self._form.eight_bit else stretch(images)

    def _image(self, name: str) -> Picture:
        file = self._files[name].images[0]
        with named(file):
            image = self._picture(file)
            self._check(_form(image))
            return image

    def _mask(self, file: str, image: Picture) -> NDArray[np.uint8]:
        with named(file):
            mask = self._picture(file, image).pixels
            if len(mask) > 1:
                raise DataError(f"has {len(mask)} channels; a mask has one")
            if mask.shape[1:] != image.pixels.shape[1:]:
                raise DataError(f"is {_edges(mask)}, its image {_edges(image.pixels)}")
            return as_labels(mask[0], self.classes)

    def _picture(self, file: str, image: Picture | None = None) -> Picture:
        return read_picture(self._tree.read(file, _LARGEST), stem_and_suffix(file)[1], image)

    def _check(self, form: Form) -> None:
        """Refuse an image that is unlike the first."""
        first = self._form
        if form.channels != first.channels:
            raise DataError(f"has {form.channels} channels, the first image {first.channels}")
        if form.eight_bit != first.eight_bit:
            kinds = ("not 8-bit", "8-bit")
            raise DataError(f"is {kinds[form.eight_bit]}, the first image {kinds[first.eight_bit]}")
        if self._size is None and form.size != first.size:
            sizes = ["x".join(map(str, one.size)) for one in (form, first)]
            raise DataError(f"is {sizes[0]}, the first image {sizes[1]}; pass size= to resize all")

    @cached_property
    def _whole(self) -> list[str]:
        return [name for name in self._files if not self._lacking(name)]

    @cached_property
    def _form(self) -> Form:
        """Form of the first image that can be read."""
        for name in self._whole:
            file = self._files[name].images[0]
            try:
                return _form(self._picture(file))
            except DataError:
                continue  # whoever reads it says why
        raise DataError(f"{self._tree.root}: no image can be read")

    def _lacking(self, name: str) -> str:
        files = self._files[name]
        if files.unknown:
            return f"{printable(files.unknown[0])} is none of {', '.join(SUFFIXES)}"
        if not files.images:
            return f"has no image images/{name}.png"
        if not files.masks:
            return f"has no annotation masks/{name}/ANNOTATOR.png"
        if self._groups and name not in self._groups:
            return f"has no group in {GROUPS}, where an id is an image's name without its ending"
        return ""


def _form(image: Picture) -> Form:
    channels, height, width = image.pixels.shape
    check_finite(image.pixels)
    return Form(channels, image.pixels.dtype == np.uint8, (height, width))


def _edges(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[2]}"
