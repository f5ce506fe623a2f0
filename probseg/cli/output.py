"""What commands print: rich in a terminal, plain lines elsewhere, JSON where it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def print_rows(
    rows: Iterable[Sequence[str]],
    headings: Sequence[str],
    *,
    marked: Iterable[int] = (),
    wrap: bool = False,
) -> None:
    """Print rows under headings; elsewhere than in a terminal, one line each with nothing cut.

    Args:
        rows: One text for each column.
        headings: Of the columns.
        marked: Numbers of the rows that something is wrong with.
        wrap: Whether the last column goes on in the next line, in a terminal, rather than being
            cut where the line ends.
    """
    rows, bad, console = [list(row) for row in rows], set(marked), Console()
    if not console.is_terminal:
        _print_plain([list(headings), *rows])
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    *widths, _ = _widths([headings, *rows])
    for heading, width in zip(headings, widths, strict=False):
        table.add_column(heading, no_wrap=True, min_width=width)
    left = max(console.width - sum(widths) - 2 * len(headings), 20)
    table.add_column(headings[-1], no_wrap=not wrap, overflow="ellipsis", max_width=left)
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), style="red" if number in bad else None)
    console.print(table)


def _print_plain(rows: Sequence[Sequence[str]]) -> None:
    widths = _widths(rows)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
