"""What a packed cache is made from: chunks to read one by one, and what was wrong in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.filetree import printable
from probseg.errors import DataError

OnFault = Literal["refuse", "skip"]
ON_FAULT = ("refuse", "skip")
_TOLD = 10  # faults that one error names


class Block(NamedTuple):
    """Some samples on their way into a cache, and what was wrong with others."""

    ids: Sequence[str]
    groups: Sequence[str]
    images: NDArray[Any]  # (n, C, H, W) uint8, or float16 in [0, 1]
    masks: NDArray[np.uint8]  # (n, A, H, W) classes, 0 where nobody annotated
    present: NDArray[np.bool_] | None = None  # (n, A): who annotated; by default everybody
    spacing: NDArray[np.floating[Any]] | None = None  # (n, 2) mm between rows, between columns
    faults: Sequence[str] = ()  # of samples that are not in the block: name and reason


def only_annotated(block: Block) -> Block:
    """Return a block without the samples that nobody annotated, which are no samples but faults."""
    if block.present is None or block.present.any(axis=1).all():
        return block
    kept = np.asarray(block.present.any(axis=1))
    others = compress(block.ids, ~kept)
    return Block(
        ids=list(compress(block.ids, kept)),
        groups=list(compress(block.groups, kept)),
        images=block.images[kept],
        masks=block.masks[kept],
        present=block.present[kept],
        spacing=None if block.spacing is None else block.spacing[kept],
        faults=[*block.faults, *(f"{name}: nobody annotated it" for name in others)],
    )


class Source(Protocol):
    """What a cache is made from. It can be pickled; all but ``chunks`` and ``read`` is cheap."""

    name: str
    classes: int
    provenance: str
    stamp: dict[str, Any]  # differs whenever the cache must be made again; JSON-able

    def __len__(self) -> int: ...  # samples, for the progress bar

    def chunks(self) -> Sequence[Any]:
        """Return what can be read one by one, in order; each is small and can be pickled."""
        ...

    def faults(self) -> Sequence[str]:
        """Return what is seen to be wrong before any pixel is read: names and reasons."""
        ...

    def read(self, chunk: Any) -> Block:
        """Read one chunk, perhaps in another process."""
        ...


class Faults:
    """What was wrong with samples that are left out, and whether that is allowed.

    Args:
        where: What the samples were read from, for the message.
        on_fault: ``"refuse"`` raises, ``"skip"`` keeps the lines.

    Attributes:
        lines: Name and reason of everything that was left out.
    """

    def __init__(self, where: str, on_fault: OnFault) -> None:
        self.lines: list[str] = []
        self._where = where
        self._on_fault = on_fault

    def add(self, lines: Iterable[str], *, last: bool = False) -> None:
        """Note faults; under ``"refuse"``, ten of them or the last call end the reading.

        Raises:
            DataError: There are faults and they are not allowed; the first ten are named.
        """
        self.lines += map(printable, lines)
        if self._on_fault == "refuse" and len(self.lines) >= (1 if last else _TOLD):
            raise DataError(
                f"{self._where} cannot be read:\n  {told(self.lines)}\ncorrect it or download it "
                'again, or go on without these samples: on_fault="skip"; nothing was packed'
            )


def told(lines: Sequence[str]) -> str:
    """Join the first ten lines and count the others."""
    more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    return "\n  ".join([*lines[:_TOLD], *more])
