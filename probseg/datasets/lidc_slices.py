"""LIDC in the layout "slices": a tree of PNG files, one image and four masks a nodule-slice."""

from __future__ import annotations

import re
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.filetree import FileTree
from probseg.datasets.png import as_binary, read_grey
from probseg.datasets.sources import Block
from probseg.errors import DataError, MissingDataError

SIZE = (128, 128)
READERS = 4
IMAGE, PARTS = "images", ("images", *(f"mask-{reader}" for reader in range(READERS)))

_MEMBER = re.compile(
    r"(?:.*/)?(LIDC-IDRI-\d{4})/nodule-(\d+)/(images|mask-\d+)/slice-(\d+)\.png", re.IGNORECASE
)
_FOLDER = re.compile(r"(?:[^/]+/){0,2}LIDC-IDRI-\d{4}(?:/nodule-\d+(?:/(?:images|mask-\d+))?)?")
_LARGEST = 1 << 20  # bytes; a 128x128 PNG has about 9,000
_CHUNK = 64  # slices that are read at once


class Slice(NamedTuple):
    """Place of one slice; tuples of it sort in natural order."""

    patient: str
    nodule: int
    slice: int

    def __str__(self) -> str:
        return f"{self.patient}/nodule-{self.nodule}/slice-{self.slice}"


def worth_entering(folder: str) -> bool:
    """Whether the layout may go on below a folder: at most two of any name stand above it."""
    return folder.count("/") < 2 or _FOLDER.fullmatch(folder) is not None


class LidcSlices:
    """The slices of a file tree, in natural order; a source for the packed cache.

    Args:
        tree: Where the files are.
    """

    name = "lidc"
    classes = 2
    provenance = "LIDC-IDRI: real CT, real annotations of up to four radiologists (CC BY 3.0)"

    def __init__(self, tree: FileTree) -> None:
        self.stamp = {"layout": "slices", **tree.stamp}
        self._tree = tree

    def __len__(self) -> int:
        return len(self._index)

    def chunks(self) -> list[list[Slice]]:
        """Return the places of the whole slices, some of them at a time."""
        places = [place for place, parts in self._index.items() if not _lacking(parts)]
        return [places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK)]

    def faults(self) -> list[str]:
        """Return what the slices lack."""
        lacking = ((place, _lacking(parts)) for place, parts in self._index.items())
        return [f"{place}: lacks {', '.join(parts)}" for place, parts in lacking if parts]

    def read(self, chunk: list[Slice]) -> Block:
        """Decode some slices."""
        places, slices, faults = [], [], []
        for place in chunk:
            try:
                slices.append(self._read(place))
                places.append(place)
            except DataError as error:
                faults.append(str(error))
        pixels = np.stack(slices) if slices else np.zeros((0, len(PARTS), *SIZE), np.uint8)
        ids, groups = [str(place) for place in places], [place.patient for place in places]
        return Block(ids, groups, pixels[:, :1], pixels[:, 1:], faults=faults)

    @cached_property
    def _index(self) -> dict[Slice, dict[str, str]]:
        index: dict[Slice, dict[str, str]] = {}
        for name in self._tree.names():
            if (match := _MEMBER.fullmatch(name)) and not name.startswith("__MACOSX/"):
                patient, nodule, part, number = match.groups()
                place = Slice(patient.upper(), int(nodule), int(number))
                other = index.setdefault(place, {}).setdefault(part.lower(), name)
                self._check(name, part.lower(), other)
        if not index:
            raise MissingDataError(
                f"{self._tree.root} holds no slices of LIDC "
                "(LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png)"
            )
        return dict(sorted(index.items()))

    def _check(self, name: str, part: str, other: str) -> None:
        """Refuse what no choice among the samples can mend."""
        if other != name:
            raise DataError(f"{self._tree.root}: {name} is there twice, also as {other}")
        if part not in PARTS:
            raise DataError(f"{self._tree.root}: {name}: there should be {READERS} masks only")

    def _read(self, place: Slice) -> NDArray[np.uint8]:
        slices = np.zeros((len(PARTS), *SIZE), np.uint8)
        for row, part in zip(slices, PARTS, strict=True):
            name = self._index[place][part]
            try:
                grey = read_grey(self._tree.read(name, _LARGEST), SIZE)
                row[:] = grey if part == IMAGE else as_binary(grey)
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
        return slices


def _lacking(parts: dict[str, str]) -> list[str]:
    return [part for part in PARTS if part not in parts]
