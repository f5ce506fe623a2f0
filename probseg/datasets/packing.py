"""Making a packed cache: streamed from a source, written atomically, made once by one process."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from probseg.datasets import packed
from probseg.datasets.packed import PackedDataset
from probseg.datasets.progress import progress_bar
from probseg.errors import DataError
from probseg.files import WriteError, atomic_folder, write_json

logger = logging.getLogger(__name__)


class Block(NamedTuple):
    """Some samples on their way into a cache."""

    ids: Sequence[str]
    groups: Sequence[str]
    images: NDArray[Any]  # (n, C, H, W) uint8, or float16 in [0, 1]
    masks: NDArray[np.uint8]  # (n, A, H, W) classes


class Source(Protocol):
    """What a cache is made from; everything but ``len`` and ``blocks`` must be cheap."""

    name: str
    classes: int
    provenance: str
    stamp: dict[str, Any]  # differs whenever the cache must be made again; JSON-able

    def __len__(self) -> int: ...  # samples, for the progress bar

    def blocks(self) -> Iterator[Block]:
        """Yield all samples, in order."""
        ...


def cache_root(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of caches: ``cache``, else $PROBSEG_CACHE, else ``~/.cache/probseg``."""
    return Path(cache or os.environ.get("PROBSEG_CACHE") or "~/.cache/probseg").expanduser()


def find_or_pack(source: Source, folder: Path, *, progress: bool | None = None) -> PackedDataset:
    """Open the cache of ``source`` at ``folder``, after making it if it is missing or not sound.

    Several processes may call this at once: one packs, the others wait and open what it made.

    Args:
        source: What the cache is made from.
        folder: Where the cache is, or will be.
        progress: Show a bar on stderr; by default if that is a terminal.

    Raises:
        DataError: The source cannot be read; no cache is left then.
        WriteError: The cache cannot be written.
    """
    if (found := _sound(folder, source.stamp)) is not None:
        return found
    with _lock(folder):
        if (found := _sound(folder, source.stamp, note=True)) is None:
            _remove_leftovers(folder)
            pack(source, folder, progress=progress)
    return found or PackedDataset(folder)


def pack(source: Source, folder: Path, *, progress: bool | None = None) -> None:
    """Write the cache of ``source`` to ``folder``; memory holds one block at a time.

    Raises:
        DataError: The source cannot be read or has no samples; nothing is left then.
        WriteError: The cache cannot be written.
    """
    with atomic_folder(folder) as temporary:
        ids, groups = _write_arrays(source, temporary, progress)
        if not ids:
            raise DataError(f"there are no samples to pack in {source.stamp}")
        meta = {
            "schema": packed.SCHEMA,
            "name": source.name,
            "classes": source.classes,
            "provenance": source.provenance,
            "fingerprint": packed.fingerprint(temporary, ids, groups),
            "stamp": source.stamp,
            "files": packed.file_states(temporary),
            "ids": ids,
            "groups": groups,
        }
        write_json(temporary / packed.META, meta)


def _write_arrays(
    source: Source, folder: Path, progress: bool | None
) -> tuple[list[str], list[str]]:
    ids: list[str] = []
    groups: list[str] = []
    with (
        GrowingArray(folder / packed.IMAGES) as images,
        GrowingArray(folder / packed.MASKS) as masks,
        progress_bar(f"packing {source.name}", len(source), show=progress) as advance,
    ):
        for block in source.blocks():
            images.append(block.images)
            masks.append(_pack_masks(block.masks, source.classes))
            ids += block.ids
            groups += block.groups
            advance(len(block.ids))
    return ids, groups


def _pack_masks(masks: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    if classes != 2:
        return masks
    return np.packbits(masks.reshape(*masks.shape[:2], -1), axis=-1)


class GrowingArray:
    """An ``.npy`` file that rows are appended to; its header is set right on leaving.

    Written with ``write`` and not through a memory map, which a full disk would end by SIGBUS.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "wb")  # closed by __exit__
        self._header: dict[str, Any] = {}
        self._rows = 0

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            if self._header:
                self._file.seek(0)
                self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Append ``rows`` along the first axis."""
        rows = np.ascontiguousarray(rows)
        description = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
        if not self._header:
            self._header = {**description, "row": rows.shape[1:]}
            self._write_header()
        if {**description, "row": rows.shape[1:]} != self._header:
            raise ValueError(f"rows of {rows.dtype} {rows.shape[1:]} after {self._header}")
        self._file.write(rows.data)
        self._rows += len(rows)

    def _write_header(self) -> None:
        # NumPy pads a header so that its first axis may grow in place.
        shape = (self._rows, *self._header["row"])
        header = {k: v for k, v in self._header.items() if k != "row"} | {"shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


def _sound(folder: Path, stamp: dict[str, Any], note: bool = False) -> PackedDataset | None:
    if not folder.exists():
        return None
    try:
        found = PackedDataset(folder)
    except DataError as error:
        why = str(error)
    else:
        if found.stamp == stamp:
            return found
        why = f"{folder} was made from another state of its source"
    if note:
        logger.warning("%s: it is packed again now", why)
    return None


def _lock(folder: Path) -> FileLock:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot make the cache folder {folder.parent}: {error.strerror}; choose another "
            "with cache= or the environment variable PROBSEG_CACHE"
        ) from error
    return FileLock(folder.with_name(f"{folder.name}.lock"))


def _remove_leftovers(folder: Path) -> None:
    # What a killed process was writing; nobody else writes here while we hold the lock.
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
