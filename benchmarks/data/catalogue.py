"""What the data sets are, how to get them and what to expect, from ``catalogue.toml``."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import probseg
from probseg.options import named_parameters

CATALOGUE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True)
class Entry:
    """What is known of a data set without reading it."""

    what: str
    get: str = ""  # how to get it
    look: tuple[str, ...] = ()  # patterns below the data root, one of which shows that it is there
    table3: Mapping[str, Any] = field(default_factory=dict)  # what the paper says
    note: str = ""  # on the paper's numbers

    def found(self, root: Path) -> str | None:
        """Return what of it lies at ``root``, or nothing.

        Only names are looked at; ``check`` reads the files.
        """
        hits = (hit for pattern in self.look for hit in root.glob(pattern))
        hit = next(hits, None)
        return None if hit is None else str(hit.relative_to(root))


def entry(name: str) -> Entry:
    """Return what the catalogue says of a data set, or what its constructor says of itself."""
    known = _read().get(name)
    return known or Entry(what=_first_line(name), get=_own_words(name))


@cache
def _read() -> dict[str, Entry]:
    data = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {
        name: Entry(**{**values, "look": tuple(values.get("look", ()))})
        for name, values in data.items()
    }


def _first_line(name: str) -> str:
    documentation = inspect.getdoc(probseg.datasets[name]) or "no description"
    return documentation.splitlines()[0]


def _own_words(name: str) -> str:
    takes_root = "root" in named_parameters(probseg.datasets[name])
    return "see the documentation of the package that offers it" if takes_root else ""
