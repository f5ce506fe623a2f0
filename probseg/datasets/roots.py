"""The root of a data set: the path that the user gave, and the files found there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from probseg.datasets.cache.dataset import META
from probseg.datasets.formats.files import Archive, FileTree, Folder, printable, shorten
from probseg.errors import DataError, MissingDataError

OWN_DATA = "your own data: "  # before a folder's name, where its data are from


def find_root(root: str | os.PathLike[str] | None, name: str, wanted: str) -> Path:
    """Return the root of a data set: ``root``, else the environment variable PROBSEG_DATA.

    Args:
        root: As the user gave it.
        name: The name of the data set, for messages.
        wanted: What a root has to be, for messages.

    Raises:
        MissingDataError: No root is given, or it does not exist.
    """
    given = root or os.environ.get("PROBSEG_DATA")
    if not given:
        raise MissingDataError(
            f"{name} needs a data root: pass root=, or set the environment variable PROBSEG_DATA, "
            f"to {wanted}"
        )
    path = Path(os.path.realpath(Path(given).expanduser()))
    if not path.exists():
        raise MissingDataError(f"there is no {path}; the root of {name} is {wanted}")
    return path


def open_root(root: Path, enter: Callable[[str], bool], name: str, wanted: str) -> FileTree:
    """Return the files of a folder or of a zip file.

    Args:
        root: The folder or zip file.
        enter: Whether to look into a folder of this relative name.
        name: The name of the data set, for messages.
        wanted: What a root has to be, for messages.

    Raises:
        DataError: It is neither of the two, or cannot be listed.
    """
    if root.is_dir():
        return Folder(root, enter)
    if root.suffix.lower() != ".zip":
        raise DataError(
            f"{root} is neither a folder nor a zip file; the root of {name} is {wanted}"
        )
    return Archive(root)


def check_links(tree: FileTree, is_folder: Callable[[str], bool]) -> None:
    """Check that no folder of a layout is a link that leads nowhere.

    Raises:
        DataError: One is.
    """
    for name in filter(is_folder, tree.broken):
        raise DataError(f"{tree.root}/{printable(name)} {tree.broken[name]}")


def is_packed(root: str | os.PathLike[str] | None) -> bool:
    """Return whether a root, or else where PROBSEG_DATA says, is a packed data set."""
    given = root or os.environ.get("PROBSEG_DATA")
    return bool(given) and (Path(given or "").expanduser() / META).is_file()


def list_contents(root: Path) -> str:
    """Return the first names in a folder, and of folders how much they hold.

    It is for the message that these are not the data that are wanted.
    """
    if not root.is_dir():
        return f"the file {root.name}"
    return shorten([_told(root / name) for name in _names(root)], ", ") or "nothing"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:  # it is a file, or may not be read
        return []


def _told(path: Path) -> str:
    inside, name = _names(path), printable(path.name)
    return f"{name}/ ({len(inside):,} in it, such as {printable(inside[0])})" if inside else name
