"""Where a data set lies: the root that was named, its files, and the folder of its cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from probseg.datasets.cache.packing import cache_root
from probseg.datasets.formats.filetree import Archive, FileTree, Folder, printable
from probseg.errors import DataError, MissingDataError

_TOLD = 10  # entries of a folder that a message names


def find_place(root: str | os.PathLike[str] | None, name: str, wanted: str) -> Path:
    """Return the root of a data set: ``root``, else the environment variable PROBSEG_DATA.

    Args:
        root: As the user gave it.
        name: The data set's, for messages.
        wanted: What a root looks like, for messages.

    Raises:
        MissingDataError: No root is named, or there is nothing there.
    """
    given = root or os.environ.get("PROBSEG_DATA")
    if not given:
        raise MissingDataError(
            f"{name} needs a data root: pass root=, or set the environment variable PROBSEG_DATA, "
            f"to {wanted}"
        )
    place = Path(given).expanduser().resolve()
    if not place.exists():
        raise MissingDataError(f"there is no {place}; the root of {name} is {wanted}")
    return place


def open_tree(place: Path, enter: Callable[[str], bool], name: str, wanted: str) -> FileTree:
    """Return the files of a folder or of a zip file.

    Raises:
        DataError: It is neither of the two, or cannot be listed.
    """
    if place.is_dir():
        return Folder(place, enter)
    if place.suffix.lower() != ".zip":
        raise DataError(
            f"{place} is neither a folder nor a zip file; the root of {name} is {wanted}"
        )
    return Archive(place)


def cache_folder(cache: str | os.PathLike[str] | None, name: str, *made_from: object) -> Path:
    """Return the folder of the cache that is made from a place and the options that shape it."""
    text = repr([str(one) for one in made_from])
    key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return cache_root(cache) / f"{name}-{key}"


def contents(place: Path) -> str:
    """Return the first names in a folder, for the message that what was wanted is not there."""
    if not place.is_dir():
        return place.name
    names = sorted(entry.name for entry in place.iterdir() if not entry.name.startswith("."))
    more = [f"and {len(names) - _TOLD} more"] if len(names) > _TOLD else []
    return ", ".join([*names[:_TOLD], *more]) or "nothing"


def check_single(root: Path, *found: list[str]) -> None:
    """Refuse two files for one purpose, between which nobody can choose.

    Raises:
        DataError: A list has more than one name; the message has two.
    """
    for names in found:
        if len(names) > 1:
            raise DataError(f"{root}: {names[0]} is there twice, also as {names[1]}")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put a file's name before the message of a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{printable(name)}: {error}") from error
