"""LIDC in the layout "slices": a tree of PNG files, one image and four masks a nodule-slice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.filetree import FileTree
from probseg.datasets.packing import Block
from probseg.datasets.png import as_binary, read_grey
from probseg.errors import DataError, MissingDataError

SIZE = (128, 128)
READERS = 4
IMAGE, PARTS = "images", ("images", *(f"mask-{reader}" for reader in range(READERS)))

_MEMBER = re.compile(
    r"(?:.*/)?(LIDC-IDRI-\d{4})/nodule-(\d+)/(images|mask-\d+)/slice-(\d+)\.png", re.IGNORECASE
)
_FOLDER = re.compile(r"(?:[^/]+/){0,2}LIDC-IDRI-\d{4}(?:/nodule-\d+(?:/(?:images|mask-\d+))?)?")
_LARGEST = 1 << 20  # bytes; a 128x128 PNG has about 9,000
_TOLD = 10  # problems that one error names
_BLOCK = 64  # slices


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

    def blocks(self) -> Iterator[Block]:
        """Yield the decoded slices.

        Raises:
            DataError: Files are missing, damaged or not what they should be; the first ten are
                named.
        """
        problems: list[str] = []
        places = list(self._index)
        # One thread: decoding takes some 100 µs a file, most of it in Python; two threads were
        # measured slower than one.
        for start in range(0, len(places), _BLOCK):
            chunk = places[start : start + _BLOCK]
            slices = [self._read(place, problems) for place in chunk]
            if len(problems) >= _TOLD:
                break
            if not problems:
                yield _block(chunk, np.stack(slices))
        if problems:
            self._refuse(problems)

    @cached_property
    def _index(self) -> dict[Slice, dict[str, str]]:
        index: dict[Slice, dict[str, str]] = {}
        problems = []
        for name in self._tree.names():
            if (match := _MEMBER.fullmatch(name)) and not name.startswith("__MACOSX/"):
                patient, nodule, part, number = match.groups()
                place = Slice(patient.upper(), int(nodule), int(number))
                if index.setdefault(place, {}).setdefault(part.lower(), name) != name:
                    problems.append(f"{name}: is there twice, also as {index[place][part.lower()]}")
        if not index:
            raise MissingDataError(
                f"{self._tree.root} holds no slices of LIDC "
                "(LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png)"
            )
        problems += [p for place, parts in index.items() for p in _incomplete(place, parts)]
        if problems:
            self._refuse(problems)
        return dict(sorted(index.items()))

    def _read(self, place: Slice, problems: list[str]) -> NDArray[np.uint8]:
        slices = np.zeros((len(PARTS), *SIZE), np.uint8)
        for row, part in zip(slices, PARTS, strict=True):
            name = self._index[place][part]
            try:
                grey = read_grey(self._tree.read(name, _LARGEST), SIZE)
                row[:] = grey if part == IMAGE else as_binary(grey)
            except DataError as error:
                problems.append(f"{name}: {error}")
        return slices

    def _refuse(self, problems: list[str]) -> None:
        more = f"\n  and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise DataError(
            f"{self._tree.root} cannot be read as LIDC slices:\n  "
            + "\n  ".join(problems[:_TOLD])
            + f"{more}\nunzip or download it again; nothing was packed"
        )


def _incomplete(place: Slice, parts: dict[str, str]) -> Iterator[str]:
    missing = [part for part in PARTS if part not in parts]
    if missing:
        yield f"{place}: lacks {', '.join(missing)}"
    for part in sorted(parts.keys() - set(PARTS)):
        yield f"{parts[part]}: there should be {READERS} masks only"


def _block(places: list[Slice], slices: NDArray[np.uint8]) -> Block:
    ids, groups = [str(place) for place in places], [place.patient for place in places]
    return Block(ids, groups, slices[:, :1], slices[:, 1:])
