"""Docstrings in Google's style, taken apart."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_ROLE = re.compile(r":\w+:`~?([^`]*)`")
_HEADING = re.compile(r"^([A-Z]\w+):$", re.M)
_ENTRY = re.compile(r"^\*{0,2}(\w+)(?: \([^)]*\))?: *", re.M)


class Docstring(NamedTuple):
    """What a docstring says."""

    summary: str  # its first line
    text: str  # what follows, up to the first section
    sections: dict[str, str]  # heading, such as "References", to what is under it

    def entries(self, heading: str) -> dict[str, str]:
        """Return a section of entries ``name: text``, such as ``Args``, by name."""
        _, *pieces = _ENTRY.split(self.sections.get(heading, ""))
        names, texts = pieces[::2], pieces[1::2]
        return {name: " ".join(text.split()) for name, text in zip(names, texts, strict=True)}


def parse(text: str) -> Docstring:
    r"""Take a docstring apart.

    >>> parse("Add.\n\nArgs:\n    a: One\n        number.\n").entries("Args")
    {'a': 'One number.'}
    """
    lead, *rest = _HEADING.split(inspect.cleandoc(text))
    summary, _, more = lead.partition("\n")
    sections = {
        heading: inspect.cleandoc("\n" + content).strip()
        for heading, content in zip(rest[::2], rest[1::2], strict=True)
    }
    return Docstring(
        plain(summary), plain(more.strip()), {n: plain(s) for n, s in sections.items()}
    )


def plain(text: str) -> str:
    """Return a text without the markup of docstrings.

    >>> plain("The ``mean``, see :func:`~probseg.mean`.")
    'The `mean`, see probseg.mean.'
    """
    return _ROLE.sub(r"\1", text).replace("``", "`")
