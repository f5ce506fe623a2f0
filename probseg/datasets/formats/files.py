"""Folders and zip files, read alike: from names to bytes, and nothing outside of them."""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from probseg.errors import DataError

MOST_LISTED = 10  # items that a message lists


class FileTree(Protocol):
    """Files by their names, which are relative and separated by ``/``."""

    root: Path
    state: dict[str, Any]  # changes whenever a file does; JSON-able
    broken: Mapping[str, str]  # links that lead nowhere, and what reading one says

    def names(self) -> list[str]:
        """Return the names of all files."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes, at most ``limit`` of them."""
        ...


class Folder:
    """The files below a folder.

    Args:
        root: The folder.
        enter: Whether to look into a folder of this relative name; it bounds the depth. A link to
            a folder that contains the link is never followed. A link that leads nowhere is a file
            that cannot be read.
    """

    def __init__(self, root: Path, enter: Callable[[str], bool]) -> None:
        self.root = root
        self._names: list[str] = []
        broken: dict[str, str] = {}
        states = hashlib.blake2b(digest_size=16)
        for name, state in sorted(_walk(os.path.realpath(root), "", enter, ())):
            self._names.append(name)
            if stat.S_ISLNK(state.st_mode):
                broken[name] = _told(os.path.join(root, name))
            states.update(
                f"{name} {state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "replace")
            )
        self.broken: Mapping[str, str] = broken
        self.state = {
            "path": printable(str(root)),
            "files": len(self._names),
            "state": states.hexdigest(),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_names": []}  # readers in other processes get the names

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
            if name in self.broken:
                raise DataError(self.broken[name]) from error
            raise DataError(f"cannot be read ({error.strerror})") from error
        return _check_limit(data, limit)


class Archive:
    """The members of a zip file, read in place and never extracted to the disk.

    Raises:
        DataError: It cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = file_state(root)
        self.broken: Mapping[str, str] = {}

    def names(self) -> list[str]:
        """Return the names of all members.

        Raises:
            DataError: It is not a complete zip file, has two members of one name, or a member
                whose name lies outside of it.
        """
        archive = self._open()
        _check_directory(self.root, archive.infolist())
        names = archive.namelist()
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(f"{self.root}: {twice[0]} occurs twice")
        for name in names:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                raise DataError(
                    f"{self.root} has a member called {name!r}, which lies outside of it; "
                    "do not trust such a file: get it again from its source"
                )
        return [name for name in names if not name.endswith("/")]

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's bytes, whose checksum is checked.

        Raises:
            DataError: It is damaged or has more than ``limit`` bytes.
        """
        try:
            with self._open().open(name) as file:
                return _check_limit(file.read(limit + 1), limit)
        except (RuntimeError, NotImplementedError) as error:
            raise DataError(f"is encrypted or compressed in an unknown way ({error})") from error
        except _BROKEN as error:
            raise DataError(f"is damaged ({error})") from error

    def _open(self) -> zipfile.ZipFile:
        try:
            return _opened(self.root, self.state["size"], self.state["changed"], os.getpid())
        except (*_BROKEN, NotImplementedError) as error:
            raise DataError(
                f"{self.root} is not a complete zip file ({error}); download it again"
            ) from error


_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
)


@lru_cache(maxsize=1)
def _opened(root: Path, *state: int) -> zipfile.ZipFile:
    # Opening a zip file of 70,000 members takes half a second: once a process, not once a chunk.
    return zipfile.ZipFile(root)


def _check_directory(root: Path, members: list[zipfile.ZipInfo]) -> None:
    """Compare the names in the directory with those before the data; no checksum covers either.

    Otherwise a member whose name was damaged would silently be left out of a sample.

    Raises:
        DataError: They differ.
    """
    with open(root, "rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        for member in members:
            utf8 = member.flag_bits & 0x800
            name = member.orig_filename.encode("utf-8" if utf8 else "cp437")
            file.seek(min(max(member.header_offset, 0), end))
            header = file.read(30 + len(name))
            if header[26:28] + header[30:] != len(name).to_bytes(2, "little") + name:
                raise DataError(
                    f"{root} is not a complete zip file (its directory lists {member.filename!r}, "
                    "which is not what lies there); download it again"
                )


def printable(name: str) -> str:
    r"""Return a file's name as text that can be written: ``\udc..`` for bytes that are no UTF-8.

    >>> printable("caf\udce9")
    'caf\\udce9'
    """
    return name.encode("utf-8", "backslashreplace").decode()


def shorten(items: Sequence[str], separator: str = "\n  ") -> str:
    """Join the first ten items and count the others.

    >>> shorten([str(number) for number in range(12)], ", ")
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more'
    """
    others = len(items) - MOST_LISTED
    more = [f"and {others} more"] if others > 0 else []
    return separator.join([*items[:MOST_LISTED], *more])


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Put a file's name before the message of a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{printable(name)}: {error}") from error


def file_state(path: Path) -> dict[str, Any]:
    """Return path, size and time of change of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    size, changed = state.st_size, state.st_mtime_ns
    return {"path": printable(str(path)), "size": size, "changed": changed}


def _told(link: str) -> str:
    return (
        f"is a link to {printable(os.readlink(link))}, which cannot be reached: mount its disk, or "
        "fetch the file (git annex get, datalad get, dvc pull)"
    )


def _walk(
    folder: str, prefix: str, enter: Callable[[str], bool], above: tuple[str, ...]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files of a folder given by its real path, to which links in ``above`` led."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, target = f"{prefix}{entry.name}", entry.path
                if entry.is_symlink() and not os.path.exists(target):  # or one to itself
                    yield name, entry.stat(follow_symlinks=False)
                elif entry.is_file():
                    yield name, entry.stat()
                elif entry.is_dir() and enter(name):
                    if not entry.is_symlink():
                        yield from _walk(target, f"{name}/", enter, above)
                    elif not _is_loop(real := os.path.realpath(target), (*above, folder)):
                        yield from _walk(real, f"{name}/", enter, (*above, folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror})") from error


def _is_loop(target: str, above: tuple[str, ...]) -> bool:
    return any(os.path.join(folder, "").startswith(os.path.join(target, "")) for folder in above)


def _check_limit(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise DataError(f"has more than {limit} bytes")
    return data
