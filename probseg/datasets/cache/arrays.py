"""Arrays on disk: an ``.npy`` file written by rows, and partial results kept for the next run."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from probseg.utils.atomic_files import atomic_file

Arrays = dict[str, NDArray[np.generic]]


class ArrayWriter:
    """Writes an ``.npy`` file row by row; its header is completed on leaving the context.

    Rows are written with ``write``, not through a memory map: a full disk would end that by SIGBUS.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "wb")  # closed by __exit__
        self._header: dict[str, Any] = {}
        self._rows = 0

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            if self._header:
                self._file.seek(0)
                self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Append ``rows`` along the first axis.

        Raises:
            ValueError: Their type or shape differs from that of the rows before.
        """
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


class PartialResults:
    """Arrays by key, each in an ``.npz`` file that is written atomically; safe for many processes.

    Args:
        folder: The folder of the files; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, key: str) -> Arrays | None:
        """Return the arrays of a key, or None if there is no complete file of it."""
        if self._folder is None:
            return None
        try:  # np.load would leave a damaged file open
            with open(self._folder / f"{key}.npz", "rb") as file:
                return dict(np.load(file, allow_pickle=False))
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            return None

    def save(self, key: str, arrays: Arrays) -> None:
        """Save arrays under a key.

        Raises:
            WriteError: The disk is full or read-only.
        """
        if self._folder is not None:
            with atomic_file(self._folder / f"{key}.npz") as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **arrays)


def result_key(options: Iterable[object], files: Iterable[Path]) -> str:
    """Return a key that changes whenever one of the options or files does."""
    digest = hashlib.blake2b(repr([*options]).encode("utf-8", "replace"), digest_size=16)
    for file in files:
        try:
            state = os.stat(file)
            text = f"\n{file} {state.st_size} {state.st_mtime_ns}"
        except OSError:  # reading the file will report it
            text = f"\n{file} gone"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
