"""What lies where in anybody's own data: images, masks by annotator, and groups."""

from __future__ import annotations

import csv
import io
import re
from typing import NamedTuple
from unicodedata import normalize

from probseg.datasets.cache.places import check_single, contents
from probseg.datasets.formats.filetree import FileTree, printable
from probseg.datasets.formats.images import stem_and_suffix
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError

GROUPS = "groups.csv"
LAYOUT = "images/ID.png and masks/ID/ANNOTATOR.png (or .tif, .npy, .nii.gz)"

# A zip file may have all of it in one folder.
_FILE = re.compile(r"(?:[^/]+/)?(?:images|masks/(?P<id>[^/]+))/(?P<file>[^/]+)")
_GROUPS = re.compile(rf"(?:[^/]+/)?{re.escape(GROUPS)}", re.IGNORECASE)
_OF_THE_SYSTEM = ("thumbs.db", "desktop.ini")
_LARGEST = 1 << 26  # bytes of the groups


class Files(NamedTuple):
    """What was found of a sample; more than one file for one purpose is refused."""

    images: list[str]
    masks: dict[str, list[str]]  # by annotator
    unknown: list[str]  # of kinds that are not read


def worth_entering(folder: str) -> bool:
    """Whether a folder of this relative name belongs to the layout."""
    return re.fullmatch(r"images|masks(/[^/]+)?", folder) is not None


def find_files(tree: FileTree) -> dict[str, Files]:
    """Return the files of each sample, in natural order of the ids.

    Raises:
        MissingDataError: There are none.
        DataError: An image or a mask is there twice.
    """
    index: dict[str, Files] = {}
    for path in tree.names():
        found = _FILE.fullmatch(normalize("NFC", path))  # some systems take accents apart
        if found and not _of_the_system(found["file"]):
            stem, suffix = stem_and_suffix(printable(found["file"]))
            files = index.setdefault(printable(found["id"] or stem), Files([], {}, []))
            _purpose(files, suffix, stem if found["id"] else None).append(path)
    if not any(files.images for files in index.values()):
        raise MissingDataError(f"{tree.root} holds no {LAYOUT}; it holds: {contents(tree.root)}")
    for files in index.values():
        check_single(tree.root, files.images, *files.masks.values())
    return {name: index[name] for name in sorted(index, key=natural)}


def read_groups(tree: FileTree) -> dict[str, str]:
    """Return the group of each id, or nothing where there is no ``groups.csv``.

    Raises:
        DataError: It is no such table, or an id is in it twice.
    """
    files = [name for name in tree.names() if _GROUPS.fullmatch(name)]
    check_single(tree.root, files)
    return _parse(tree, files[0]) if files else {}


def _parse(tree: FileTree, file: str) -> dict[str, str]:
    try:
        text = tree.read(file, _LARGEST).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(normalize("NFC", text), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{tree.root}/{file} is no CSV file in UTF-8 ({error})") from error
    head, *rows = [[cell.strip() for cell in row] for row in rows if any(row)] or [[]]
    wrong = [row for row in rows if len(row) != 2 or not all(row)]
    if head != ["id", "group"] or wrong:
        row = head if head != ["id", "group"] else wrong[0]
        raise DataError(
            f"{tree.root}/{file} has to have two columns, headed id,group, with a comma between; "
            f"it has the row {','.join(row)!r}"
        )
    groups: dict[str, str] = {}
    for name, group in rows:
        if groups.setdefault(name, group) != group:
            raise DataError(f"{tree.root}/{file} gives {name} two groups")
    return groups


def _of_the_system(file: str) -> bool:
    return file.startswith(".") or file.lower() in _OF_THE_SYSTEM


def _purpose(files: Files, suffix: str, annotator: str | None) -> list[str]:
    if not suffix:
        return files.unknown
    return files.images if annotator is None else files.masks.setdefault(annotator, [])
