"""LIDC as a tree of PNG files, an image and four masks a sample: what such layouts share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.sources import Block
from probseg.datasets.formats.filetree import FileTree, printable
from probseg.datasets.formats.png import as_binary, read_grey
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError

READERS = 4
IMAGE = "image"
LARGEST = 1 << 20  # bytes; a PNG of 128x128 has about 9,000

_CHUNK = 64  # samples that are read at once


class Part(NamedTuple):
    """What one file is."""

    sample: str  # unique in the data set
    patient: str
    part: str  # "image", or the name of a mask


class Files(NamedTuple):
    """Where one sample is."""

    sample: str
    patient: str
    names: list[str]  # the image's and the four masks'


class Chunk(NamedTuple):
    """Samples that are read at once."""

    size: tuple[int, int]
    samples: list[Files]


class LidcPngs(ABC):
    """The samples of a file tree, in natural order; a source for the packed cache.

    Args:
        tree: Where the files are.
    """

    name = "lidc"
    classes = 2
    provenance = "LIDC-IDRI: real CT, real annotations of up to four radiologists (CC BY 3.0)"

    layout: ClassVar[str]
    looks: ClassVar[str]  # for people
    member: ClassVar[re.Pattern[str]]  # names of its files, at any place that a root may have
    folder: ClassVar[re.Pattern[str]]  # names of the folders they are in
    spacing: ClassVar[float] = np.nan  # mm

    def __init__(self, tree: FileTree) -> None:
        self.stamp: dict[str, Any] = {"layout": self.layout, **tree.stamp}
        self._tree = tree

    def __len__(self) -> int:
        return len(self._index)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_index"}  # chunks have the names

    @classmethod
    def matches(cls, name: str) -> re.Match[str] | None:
        """Return how a file's name matches ``member``, except where macOS put its own files."""
        return None if name.startswith("__MACOSX/") else cls.member.fullmatch(name)

    @abstractmethod
    def part(self, match: re.Match[str]) -> Part:
        """Return what a file is whose name matches ``member``."""

    @abstractmethod
    def masks(self, parts: Sequence[str]) -> Sequence[str]:
        """Return what the four masks are called in a sample that has these parts."""

    @abstractmethod
    def size(self, samples: list[Files]) -> tuple[int, int]:
        """Return the height and width of every image."""

    def chunks(self) -> list[Chunk]:
        """Return the places of the whole samples, some of them at a time."""
        whole = [
            Files(sample, patient, [parts[part] for part in self._wanted(parts)])
            for (sample, patient), parts in self._index.items()
            if not self._fault(parts)
        ]
        size = self.size(whole)
        return [
            Chunk(size, whole[start : start + _CHUNK]) for start in range(0, len(whole), _CHUNK)
        ]

    def faults(self) -> list[str]:
        """Return what the samples lack."""
        checked = ((sample, self._fault(parts)) for (sample, _), parts in self._index.items())
        return [f"{sample}: {fault}" for sample, fault in checked if fault]

    def read(self, chunk: Chunk) -> Block:
        """Decode some samples."""
        sound, faults, pixels = [], [], []
        for files in chunk.samples:
            try:
                pixels.append(self._read(files, chunk.size))
                sound.append(files)
            except DataError as error:
                faults.append(str(error))
        planes = np.array(pixels, np.uint8).reshape(-1, 1 + READERS, *chunk.size)
        ids, groups = [files.sample for files in sound], [files.patient for files in sound]
        spacing = np.full((len(sound), 2), self.spacing)
        return Block(ids, groups, planes[:, :1], planes[:, 1:], spacing=spacing, faults=faults)

    @cached_property
    def _index(self) -> dict[tuple[str, str], dict[str, str]]:
        index: dict[tuple[str, str], dict[str, str]] = {}
        for name in self._tree.names():
            if match := self.matches(name):
                sample, patient, part = self.part(match)
                place = printable(sample), printable(patient)
                other = index.setdefault(place, {}).setdefault(part, name)
                if other != name:
                    raise DataError(
                        f"{self._tree.root}: {printable(name)} is there twice, also as "
                        f"{printable(other)}"
                    )
        if not index:
            raise MissingDataError(
                f"{self._tree.root} holds no LIDC in the layout {self.layout!r}, {self.looks}"
            )
        return dict(sorted(index.items(), key=lambda item: natural(item[0][0])))

    def _wanted(self, parts: dict[str, str]) -> list[str]:
        return [IMAGE, *self.masks(sorted(parts))]

    def _fault(self, parts: dict[str, str]) -> str:
        wanted = self._wanted(parts)
        if lacking := [part for part in wanted if part not in parts]:
            return f"lacks {', '.join(lacking)}"
        more = [part for part in parts if part not in wanted]
        return f"has {', '.join(more)}; there should be {READERS} masks only" if more else ""

    def _read(self, files: Files, size: tuple[int, int]) -> NDArray[np.uint8]:
        planes = np.zeros((1 + READERS, *size), np.uint8)
        for place, name in enumerate(files.names):
            try:
                grey = read_grey(self._tree.read(name, LARGEST), size)
                planes[place] = as_binary(grey) if place else grey
            except DataError as error:
                raise DataError(f"{printable(name)}: {error}") from error
        return planes
