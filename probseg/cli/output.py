"""Output of the commands: coloured tables in a terminal, plain lines elsewhere, or JSON."""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import combining, normalize

# imports are made to print only, since --help and completion must answer at once

_NEAREST = {"–": "-", "−": "-", "×": "x", "·": "-", "±": "+-", "↓": "", "↑": "", "≤": "<="}
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def accept_any_character() -> None:
    """Let stdout and stderr print what their encoding lacks by its nearest ASCII characters."""
    codecs.register_error("probseg-nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="probseg-nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    same = normalize("NFKD", "".join(_NEAREST.get(one, one) for one in text))
    letters = (one for one in same if not combining(one))
    return "".join(one if one.isascii() else "?" for one in letters), error.end


def plain(text: str) -> str:
    """Return a text without the markup of docstrings.

    >>> plain("The ``mean``, see :func:`~probseg.mean`.")
    'The `mean`, see probseg.mean.'
    """
    return _ROLE.sub(r"\1", text).replace("``", "`")


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    import json

    unicode = sys.stdout.encoding.lower().startswith("utf")
    print(json.dumps(data, indent=2, ensure_ascii=not unicode))


def print_line(text: str, style: str = "") -> None:
    """Print a line, in a style of rich where the output is a terminal."""
    from rich.console import Console
    from rich.text import Text

    Console(soft_wrap=not Console().is_terminal).print(Text(text, style))


def print_rows(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> None:
    """Print rows under headings; outside of a terminal one line each, with nothing cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows, console = [list(row) for row in rows], Console()
    if not console.is_terminal:
        _print_plain([list(headings), *rows])
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    *widths, _ = _widths([headings, *rows])
    for heading, width in zip(headings, widths, strict=False):
        table.add_column(heading, no_wrap=True, min_width=width)
    left = max(console.width - sum(widths) - 2 * len(headings), 10)
    table.add_column(headings[-1], no_wrap=True, overflow="ellipsis", max_width=left)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_plain(rows: Sequence[Sequence[str]]) -> None:
    widths = _widths(rows)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
