"""Folders and zip files alike, as names to bytes; nothing outside of them is ever touched."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from probseg.errors import DataError


class FileTree(Protocol):
    """Files by their names, relative and separated by ``/``."""

    root: Path
    stamp: dict[str, Any]  # changes when a file does

    def names(self) -> list[str]:
        """Return the names of all files."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes; DataError if there are more than ``limit``."""
        ...


class Folder:
    """The files below a folder.

    Args:
        root: The folder.
        enter: Whether a folder of this relative name is looked into; it bounds the depth, and so
            ends any loop of links.
    """

    def __init__(self, root: Path, enter: Callable[[str], bool]) -> None:
        self.root = root
        self._names: list[str] = []
        states = hashlib.blake2b(digest_size=16)
        for name, state in sorted(_walk(str(root), "", enter)):
            self._names.append(name)
            states.update(
                f"{name} {state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "replace")
            )
        self.stamp = {"path": str(root), "files": len(self._names), "state": states.hexdigest()}

    def names(self) -> list[str]:
        """Return the names of all files."""
        return self._names

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes.

        Raises:
            DataError: It cannot be read or has more than ``limit`` bytes.
        """
        try:
            with open(self.root / name, "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})") from error
        return _within(data, limit)


class Archive:
    """The members of a zip file, read in place; nothing is ever extracted to the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        state = root.stat()
        self.stamp = {"path": str(root), "size": state.st_size, "changed": state.st_mtime_ns}
        self._zip: zipfile.ZipFile | None = None

    def names(self) -> list[str]:
        """Return the names of all members.

        Raises:
            DataError: It is no whole zip file, or a member's name leads out of it.
        """
        names = self._open().namelist()
        for name in names:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                raise DataError(
                    f"{self.root} has a member called {name!r}, which leads out of it; "
                    "such a file is not to be trusted: get it again from its source"
                )
        return [name for name in names if not name.endswith("/")]

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's bytes, whose checksum is checked.

        Raises:
            DataError: It is damaged or has more than ``limit`` bytes.
        """
        try:
            with self._open().open(name) as file:
                return _within(file.read(limit + 1), limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise DataError(f"is damaged ({error})") from error
        except (RuntimeError, NotImplementedError) as error:
            raise DataError(f"is encrypted or compressed in an unknown way ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None}  # an open file stays in its process

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:  # listing 70,000 members takes longer than opening a cache
            try:
                self._zip = zipfile.ZipFile(self.root)
            except (zipfile.BadZipFile, OSError, EOFError) as error:
                raise DataError(
                    f"{self.root} is no whole zip file ({error}); download it again"
                ) from error
        return self._zip


def _walk(
    folder: str, prefix: str, enter: Callable[[str], bool]
) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if entry.is_file():
                    yield name, entry.stat()
                elif entry.is_dir() and enter(name):
                    yield from _walk(entry.path, f"{name}/", enter)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror})") from error


def _within(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise DataError(f"has more than {limit} bytes")
    return data
