"""Data sets by the name or the folder that a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.parser import Parser, add_set, parse_assignments
from probseg.errors import OptionError
from probseg.options import listing, named_parameters, unknown
from probseg.registry import registry

if TYPE_CHECKING:
    from probseg.interfaces import Dataset


def add_data(parser: Parser, name: str = "--data", **options: Any) -> None:
    """Add ``--data``, or an argument of another ``name`` for the same, and ``--root``."""
    if name.startswith("-"):
        options["required"] = True
    either = "a folder of images/ and masks/, or the name of a data set (probseg list datasets)"
    parser.add_argument(name, metavar="FOLDER|NAME", help=either, **options)
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where a named data set lies (or $PROBSEG_DATA)"
    )


def add_sections(parser: Parser, names: tuple[str, ...]) -> None:
    """Add ``--set SECTION.KEY=VALUE``, to be read by :func:`parse_sections`."""
    add_set(parser, f"options of the {listing(names)}, such as data.size=128")


def parse_sections(assignments: list[str], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return the options of each section.

    Raises:
        OptionError: A section is unknown, or its value is no option of it.

    >>> parse_sections(["data.size=64"], ("data", "model"))
    {'data': {'size': 64}, 'model': {}}
    """
    given = parse_assignments(assignments)
    for name, value in given.items():
        if name not in names or not isinstance(value, Mapping):
            raise OptionError(f"--set takes SECTION.KEY=VALUE; {unknown('section', name, names)}")
    return {name: dict(given.get(name, {})) for name in names}


def open_data(data: str, root: Path | None, options: Mapping[str, Any], **defaults: Any) -> Dataset:
    """Open the data set of a name, or of a folder.

    Args:
        data: The name or the folder.
        root: Where a named data set lies.
        options: Those of the data set.
        **defaults: Options that are given to a data set that takes them.

    Raises:
        OptionError: It is neither.
        ProbsegError: It cannot be opened.
    """
    check_data(data, root)
    datasets = registry("datasets")
    name = data if data in datasets else "folder"
    if name != data:
        defaults["root"] = data
    elif root is not None:
        defaults["root"] = root
    takes = named_parameters(datasets[name])
    chosen = {option: value for option, value in defaults.items() if option in takes}
    dataset: Dataset = datasets.create(name, **{**chosen, **options})
    return dataset


def check_data(data: str, root: Path | None) -> None:
    """Check that there is a data set of a name, or a folder, and that the root exists.

    Raises:
        OptionError: They do not.
    """
    if data not in registry("datasets") and not Path(data).exists():
        names = registry("datasets")
        raise OptionError(f"there is no folder {data}, and {unknown('data set', data, names)}")
    if root is not None and not root.exists():
        raise OptionError(f"--root {root} does not exist; give the folder of the data sets")
