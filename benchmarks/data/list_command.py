"""``list``: every registered data set, what it is, whether it is here, how to get the rest."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

import probseg
from benchmarks.data.catalogue import entry
from benchmarks.data.opening import check_root, needs_root


def run(options: argparse.Namespace) -> int:
    """Print the table and return exit status 0."""
    check_root(options.data_root)
    table = Table(title=_title(options.data_root), title_justify="left", show_lines=True)
    table.add_column("data set", no_wrap=True)
    for heading in ("what it is", "here", "how to get it"):
        table.add_column(heading, overflow="fold")
    for name in probseg.datasets:
        known = entry(name)
        here = state(name, options.data_root)
        get = "" if here.startswith("yes") else known.get
        table.add_row(name, known.what, here, get or "–")
    Console().print(table, markup=False)
    return 0


def state(name: str, root: Path | None) -> str:
    """Say whether a data set lies at ``root``, by the names of its files alone."""
    if not needs_root(name):
        return "embedded"
    known = entry(name)
    if root is None or root.is_file() or not known.look:
        return "not looked for"
    found = known.found(root)
    return "no" if found is None else f"yes: {found}"


def _title(root: Path | None) -> str:
    if root is None:
        return "data sets – give --data-root DIR or set PROBSEG_DATA to look for them"
    if root.is_file():
        return f"data sets – {root} is a file, which only check opens"
    return f"data sets at {root}"
