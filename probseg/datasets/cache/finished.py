"""What a long preparation has finished, kept on disk for the next run."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probseg.utils.atomic_files import atomic_file

Arrays = dict[str, NDArray[np.generic]]


class Finished:
    """Arrays by key, each key an atomically written ``.npz`` file; safe with several processes.

    Args:
        folder: Where they are; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, key: str) -> Arrays | None:
        """Return what is kept under a key, or None if nothing whole is."""
        if self._folder is None:
            return None
        try:
            with open(
                self._folder / f"{key}.npz", "rb"
            ) as file:  # np.load leaves a damaged one open
                return dict(np.load(file, allow_pickle=False))
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            return None

    def keep(self, key: str, arrays: Arrays) -> None:
        """Keep arrays under a key.

        Raises:
            WriteError: The disk is full or read-only.
        """
        if self._folder is not None:
            with atomic_file(self._folder / f"{key}.npz") as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **arrays)


def key_of(what: Iterable[object], files: Iterable[Path]) -> str:
    """Return a key that differs whenever one of the files, or what is made of them, does."""
    digest = hashlib.blake2b(repr([*what]).encode("utf-8", "replace"), digest_size=16)
    for file in files:
        try:
            state = os.stat(file)
            text = f"\n{file} {state.st_size} {state.st_mtime_ns}"
        except OSError:  # whoever reads it will say so
            text = f"\n{file} gone"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
