"""The data sets by name: what they are, whether they are here, how to get them; ``list``."""

from __future__ import annotations

import argparse
import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import probseg
from benchmarks.arguments import add_data_root, check_data_root
from benchmarks.data.opening import needs_root
from probseg.cli.command import Command

CATALOGUE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True)
class Description:
    """What is known about a data set without reading it, from ``catalogue.toml``."""

    what: str
    get: str = ""  # how to get it
    look: tuple[str, ...] = ()  # patterns below the data root; a match shows that it is there
    table3: Mapping[str, Any] = field(default_factory=dict)  # the paper's numbers
    note: str = ""  # on the paper's numbers


@cache
def catalogue() -> dict[str, Description]:
    """Return the descriptions in ``catalogue.toml``."""
    data = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {
        name: Description(**{**values, "look": tuple(values.get("look", ()))})
        for name, values in data.items()
    }


def describe(name: str) -> Description:
    """Return the catalogue's description of a data set, or its constructor's documentation."""
    if name in catalogue():
        return catalogue()[name]
    documentation = inspect.getdoc(probseg.datasets[name]) or "no description"
    get = "see the documentation of the package that offers it" if needs_root(name) else ""
    return Description(what=documentation.splitlines()[0], get=get)


def availability(name: str, root: Path | None) -> str:
    """Say whether a data set lies at ``root``, by the names of its files alone."""
    if not needs_root(name):
        return "embedded"
    patterns = describe(name).look
    if root is None or root.is_file() or not patterns:
        return "not looked for"
    matches = (match for pattern in patterns for match in root.glob(pattern))
    match = next(matches, None)
    return "no" if match is None else f"yes: {match.relative_to(root)}"


COMMAND = Command(
    name="list",
    summary="every data set: what it is, whether it is here, how to get it",
    add_arguments=add_data_root,
    run="benchmarks.data.catalogue:run",
)


def run(options: argparse.Namespace) -> int:
    """Print the table of ``list`` and return exit status 0.

    Raises:
        OptionError: There is no such data root.
    """
    from rich.console import Console

    from benchmarks.tables import Column, Table, to_terminal

    root: Path | None = options.data_root
    check_data_root(root)

    def how_to_get(name: str) -> str | None:
        here = availability(name, root).startswith("yes")
        return None if here else describe(name).get or None

    columns = [
        Column[str]("data set", lambda name: name, number=False, once=True),
        Column[str]("what it is", lambda name: describe(name).what, number=False),
        Column[str]("here", lambda name: availability(name, root), number=False),
        Column[str]("how to get it", how_to_get, number=False),
    ]
    Console().print(to_terminal(Table.of(columns, probseg.datasets, title=_title(root))))
    return 0


def _title(root: Path | None) -> str:
    if root is None:
        return "data sets – give --data-root DIR or set PROBSEG_DATA to look for them"
    if root.is_file():
        return f"data sets – {root} is a file, which only check opens"
    return f"data sets at {root}"
