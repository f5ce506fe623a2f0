"""What a packed cache is made from: items that are read one by one, and their faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.files import MOST_LISTED, printable, shorten
from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import DataError

OnFault = Literal["refuse", "skip"]
ON_FAULT = ("refuse", "skip")
Item = TypeVar("Item")


class MaskFile(NamedTuple):
    """What was in the file of a mask before its values became classes."""

    name: str
    values: tuple[int, ...]  # those of 0, 1 and 255 that it has

    @classmethod
    def of(cls, name: str, stored: NDArray[Any]) -> MaskFile:
        """Note what is in a file."""
        return cls(printable(name), tuple(v for v in (0, 1, 255) if (stored == v).any()))


class Record(NamedTuple):
    """One sample as it was read."""

    id: str  # unique in the data set
    group: str
    image: NDArray[Any]  # (C, H, W) uint8, or float16 in [0, 1]
    masks: NDArray[Any]  # (A, H, W) uint8 or soft float32, 0 where somebody did not annotate
    present: NDArray[np.bool_] | None = None  # (A,): who annotated; by default everybody
    spacing: float | NDArray[np.floating[Any]] = np.nan  # mm between rows, between columns
    files: Sequence[MaskFile] = ()  # of the masks, as far as their values are of interest
    faint: bool = False  # whether the window leaves nearly one value


class Source(Protocol):
    """What a cache is packed from. It can be pickled; all but ``items`` and ``read`` is cheap.

    It may have ``ignore_index`` and ``soft``, as a data set may, and a method ``part_of``, which
    returns for a sample's id its part in the publisher's split: "train", "validation", "test", or
    "" where files do not say.
    """

    name: str
    provenance: str
    state: dict[str, Any]  # differs whenever the cache must be packed again; JSON-able

    @property
    def classes(self) -> int:
        """Number of classes of the masks."""
        ...

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What is done to the images; None if that is unknown."""
        return None

    def __len__(self) -> int: ...  # samples, for the progress bar

    def items(self) -> Sequence[Any]:
        """Return what ``read`` takes, in order; each item is small and can be pickled."""
        ...

    def faults(self) -> Sequence[str]:
        """Return the faults that show before any pixel is read: names and reasons."""
        return ()

    def read(self, item: Any) -> Sequence[Record]:
        """Return the samples of an item, perhaps in another process.

        Raises:
            DataError: It is faulty; the message names it.
        """
        ...


def chunked(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a sequence into chunks of ``size`` items; the last may be shorter.

    >>> chunked("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


class FaultyFiles(DataError):
    """Several files that cannot be read, each a line."""

    def __init__(self, lines: Sequence[str], message: str = "") -> None:
        super().__init__(message or "\n".join(lines))
        self.lines = list(lines)


class Faults:
    """Names and reasons, ``lines``, of the samples that are left out, if that is allowed."""

    def __init__(self, origin: str, on_fault: OnFault) -> None:
        self.lines: list[str] = []
        self.origin = origin
        self._on_fault = on_fault

    def add(self, lines: Iterable[str], *, last: bool = False) -> None:
        """Add faults; under ``"refuse"``, ten of them or the last call end the reading.

        Raises:
            FaultyFiles: There are faults and they are not allowed; the first ten are named.
        """
        self.lines += map(printable, lines)
        if self._on_fault == "refuse" and len(self.lines) >= (1 if last else MOST_LISTED):
            raise FaultyFiles(
                self.lines,
                f"{self.origin} cannot be read:\n  {shorten(self.lines)}\n"
                "correct it or download it again, or leave these samples out with "
                'on_fault="skip"; nothing was packed',
            )
