"""Data sets by the name or the folder that a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.parser import Parser, add_set, parse_assignments
from probseg.errors import OptionError
from probseg.options import listing, unknown
from probseg.registry import registry

if TYPE_CHECKING:
    from probseg.interfaces import Dataset


def add_data(parser: Parser) -> None:
    """Add ``--data`` and ``--root``."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="FOLDER|NAME",
        help="a folder of images/ and masks/, or the name of a data set (probseg list datasets)",
    )
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


def open_data(data: str, root: Path | None, options: Mapping[str, Any]) -> Dataset:
    """Open the data set of a name, or of a folder.

    Raises:
        OptionError: It is neither.
        ProbsegError: It cannot be opened.
    """
    datasets = registry("datasets")
    if data in datasets:
        where = {} if root is None else {"root": root}
        dataset: Dataset = datasets.create(data, **where, **options)
        return dataset
    if not Path(data).exists():
        raise OptionError(f"--data {data} is no folder; {unknown('data set', data, datasets)}")
    dataset = datasets.create("folder", root=data, **options)
    return dataset
