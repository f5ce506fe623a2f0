"""The files of your own folder: images, masks by annotator, and the table of groups."""

from __future__ import annotations

import csv
import io
import re
from unicodedata import normalize

from probseg.datasets.formats.files import FileTree, printable
from probseg.datasets.formats.images import stem_and_suffix
from probseg.datasets.roots import SampleFiles, check_unique, list_contents
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError

GROUPS = "groups.csv"
LAYOUT = "images/ID.png and masks/ID/ANNOTATOR.png (or .tif, .npy, .nii.gz)"

# A zip file may have all of it in one folder.
_FILE = re.compile(r"(?:[^/]+/)?(?:images|masks/(?P<id>[^/]+))/(?P<file>[^/]+)")
_GROUPS = re.compile(rf"(?:[^/]+/)?{re.escape(GROUPS)}", re.IGNORECASE)
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")
_LARGEST = 1 << 26  # bytes of the table


def may_enter(folder: str) -> bool:
    """Return whether a folder of this relative name belongs to the layout."""
    return re.fullmatch(r"images|masks(/[^/]+)?", folder) is not None


def find_files(tree: FileTree) -> dict[str, SampleFiles]:
    """Return the files of each sample, in natural order of the ids.

    Raises:
        MissingDataError: There are none.
        DataError: A sample has two images, or two masks of one annotator.
    """
    index: dict[str, SampleFiles] = {}
    for path in tree.names():
        match = _FILE.fullmatch(normalize("NFC", path))  # some systems decompose accents
        if match and not _is_system_file(match["file"]):
            stem, suffix = stem_and_suffix(printable(match["file"]))
            files = index.setdefault(printable(match["id"] or stem), SampleFiles([], {}, []))
            if not suffix:
                files.unclear.append(path)
            elif match["id"]:
                files.masks.setdefault(stem, []).append(path)
            else:
                files.images.append(path)
    if not any(files.images for files in index.values()):
        raise MissingDataError(
            f"{tree.root} holds no {LAYOUT}; it holds: {list_contents(tree.root)}"
        )
    check_unique(tree.root, index.values())
    return {name: index[name] for name in sorted(index, key=natural)}


def read_groups(tree: FileTree) -> dict[str, str]:
    """Return the group of each id, or nothing where there is no ``groups.csv``.

    Raises:
        DataError: It is no such table, or an id is in it twice.
    """
    files = [name for name in tree.names() if _GROUPS.fullmatch(name)]
    if len(files) > 1:
        raise DataError(f"{tree.root}: {files[0]} is there twice, also as {files[1]}")
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
            f"{tree.root}/{file} must have two columns, headed id,group and separated by commas; "
            f"it has the row {','.join(row)!r}"
        )
    groups: dict[str, str] = {}
    for name, group in rows:
        if groups.setdefault(name, group) != group:
            raise DataError(f"{tree.root}/{file} gives {name} two groups")
    return groups


def _is_system_file(file: str) -> bool:
    return file.startswith(".") or file.lower() in _SYSTEM_FILES
