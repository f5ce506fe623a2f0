"""The samples of your own folder; a source for the packed cache."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.source import Block, Record, chunked, read_block
from probseg.datasets.folder.index import GROUPS, find_files, read_groups
from probseg.datasets.formats.files import FileTree, in_file, printable
from probseg.datasets.formats.images import SUFFIXES, Picture, read_picture, stem_and_suffix
from probseg.datasets.formats.preprocessing import (
    as_labels,
    check_finite,
    resize_images,
    resize_masks,
    stretch,
)
from probseg.datasets.splits import natural
from probseg.errors import DataError

_LARGEST = 1 << 28  # bytes of a file
_CHUNK = 8  # samples that are read at once


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
        self._files, self._groups = find_files(tree), read_groups(tree)
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
            return f"has no group in {GROUPS}, where an id is an image's name without its suffix"
        return ""


def _kind_of(image: Picture) -> ImageKind:
    channels, height, width = image.pixels.shape
    check_finite(image.pixels)
    return ImageKind(channels, image.pixels.dtype == np.uint8, (height, width))


def _edges(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[2]}"
