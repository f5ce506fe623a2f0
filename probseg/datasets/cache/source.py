"""Sources of a packed cache: chunks of samples, read one by one, and the faults among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.files import MOST_LISTED, printable, shorten
from probseg.errors import DataError

OnFault = Literal["refuse", "skip"]
ON_FAULT = ("refuse", "skip")
Item = TypeVar("Item")


class Record(NamedTuple):
    """One sample as it was read."""

    id: str  # unique in the data set
    group: str
    image: NDArray[Any]  # (C, H, W) uint8, or float16 in [0, 1]
    masks: NDArray[np.uint8]  # (A, H, W) classes, 0 where somebody did not annotate
    present: NDArray[np.bool_] | None = None  # (A,): who annotated; by default everybody
    spacing: NDArray[np.floating[Any]] | None = None  # (2,) mm between rows, between columns


class Block(NamedTuple):
    """Several samples as arrays, and the faults of those that could not be read."""

    ids: Sequence[str]
    groups: Sequence[str]
    images: NDArray[Any]  # (n, C, H, W)
    masks: NDArray[np.uint8]  # (n, A, H, W)
    present: NDArray[np.bool_] | None = None  # (n, A)
    spacing: NDArray[np.floating[Any]] | None = None  # (n, 2)
    faults: Sequence[str] = ()  # of samples that are not in the block: name and reason


class Source(Protocol):
    """What a cache is packed from. It can be pickled; all but ``chunks`` and ``read`` is cheap."""

    name: str
    classes: int
    provenance: str
    state: dict[str, Any]  # differs whenever the cache must be packed again; JSON-able

    def __len__(self) -> int: ...  # samples, for the progress bar

    def chunks(self) -> Sequence[Any]:
        """Return what ``read`` takes, in order; each chunk is small and can be pickled."""
        ...

    def faults(self) -> Sequence[str]:
        """Return the faults that show before any pixel is read: names and reasons."""
        ...

    def read(self, chunk: Any) -> Block:
        """Read one chunk, perhaps in another process."""
        ...


def chunked(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a sequence into chunks of ``size`` items; the last may be shorter.

    >>> chunked("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def read_block(items: Iterable[Item], read: Callable[[Item], Record]) -> Block:
    """Read items one by one; the message of a DataError becomes a fault."""
    records, faults = [], []
    for item in items:
        try:
            records.append(read(item))
        except DataError as error:
            faults.append(str(error))
    if not records:
        return empty_block(faults)
    transposed: Any = zip(*records, strict=True)
    ids, groups, *columns = transposed
    arrays: list[Any] = [None if column[0] is None else np.array(column) for column in columns]
    images, masks, present, spacing = arrays
    return Block(ids, groups, images, masks, present, spacing, faults)


def empty_block(faults: Sequence[str]) -> Block:
    """Return a block without samples."""
    pixels = np.zeros((0, 0, 0, 0), np.uint8)
    return Block([], [], pixels, pixels, faults=faults)


def drop_unannotated(block: Block) -> Block:
    """Turn the samples of a block that nobody annotated into faults."""
    if block.present is None or block.present.any(axis=1).all():
        return block
    kept = np.asarray(block.present.any(axis=1))
    dropped = [f"{name}: nobody annotated it" for name in compress(block.ids, ~kept)]
    return Block(
        ids=list(compress(block.ids, kept)),
        groups=list(compress(block.groups, kept)),
        images=block.images[kept],
        masks=block.masks[kept],
        present=block.present[kept],
        spacing=None if block.spacing is None else block.spacing[kept],
        faults=[*block.faults, *dropped],
    )


class Faults:
    """Names and reasons, ``lines``, of the samples that are left out, if that is allowed."""

    def __init__(self, origin: str, on_fault: OnFault) -> None:
        self.lines: list[str] = []
        self._origin = origin
        self._on_fault = on_fault

    def add(self, lines: Iterable[str], *, last: bool = False) -> None:
        """Add faults; under ``"refuse"``, ten of them or the last call end the reading.

        Raises:
            DataError: There are faults and they are not allowed; the first ten are named.
        """
        self.lines += map(printable, lines)
        if self._on_fault == "refuse" and len(self.lines) >= (1 if last else MOST_LISTED):
            raise DataError(
                f"{self._origin} cannot be read:\n  {shorten(self.lines)}\n"
                "correct it or download it again, or leave these samples out with "
                'on_fault="skip"; nothing was packed'
            )
