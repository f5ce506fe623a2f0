"""``python -m benchmarks.compare``: two runs side by side, in the terminal and as a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import chain, groupby, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suite.choices import Parser
from benchmarks.suite.validation import ChoiceError
from probseg.errors import ProbsegError

if TYPE_CHECKING:
    from rich.table import Table

    from benchmarks.reports.comparison import Line

EXAMPLES = """
examples:
  %(prog)s benchmarks/out other/out
  %(prog)s before after --out difference.html

Rows of the same profile, data set and name are compared. A difference is called better or worse
where both runs scored the same images and Wilcoxon's signed-rank test, corrected by Holm, and the
bootstrap interval over patients agree.

Exit status: 0 done, 1 the results cannot be read, 2 the command makes no sense.
"""


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.compare",
        description="Show two runs side by side: same rows, differences, settings that differ.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", type=Path, metavar="RUN_A", help="folder of a run")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="folder of another")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        metavar="FILE",
        help="the page (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        run(options)
    except ChoiceError as error:
        return parser.complain(error)
    except ProbsegError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Compare two runs, print tables and write the page.

    Raises:
        ChoiceError: The runs share no row.
        ResultError: A folder has no results.
        WriteError: The disk is full or read-only.
    """
    from rich.console import Console

    from benchmarks.reports.comparison import changed_settings, compare_runs, read_run
    from benchmarks.reports.html.comparison import write_comparison

    first, second = read_run(options.first), read_run(options.second)
    lines, settings = compare_runs(first, second), changed_settings(first, second)
    page = write_comparison((first, second), lines, settings, options.out)
    console = Console()
    changed = [line for line in lines if line.change != 0]
    for dataset in dict.fromkeys(line.dataset for line in changed):
        console.print(to_rich([line for line in changed if line.dataset == dataset]))
    console.print(f"{len(lines) - len(changed)} of {len(lines)} values are the same in both")
    for setting in settings:
        told = f"differs: {setting.name}: {setting.first} → {setting.second}"
        where = "" if setting.everywhere else f" ({', '.join(setting.rows)})"
        console.print(told + where, markup=False, highlight=False, soft_wrap=True)
    for remark in (*first.remarks, *second.remarks):
        console.print(remark, style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"the page is {page}", markup=False, highlight=False)


def to_rich(lines: Sequence[Line]) -> Table:
    """Return the lines of one data set for a terminal; a row is named once."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from benchmarks.reports.html.comparison import texts

    table = Table(title=lines[0].dataset, title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "metric"):
        table.add_column(name)
    for name in ("A", "B", "B − A"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("B is")
    styles = {"better": "bold green", "worse": "bold red", "": ""}
    for row, found in groupby(lines, key=lambda line: line.row):
        for name, line in zip(chain([row], repeat("")), found, strict=False):
            table.add_row(name, line.column.title, *texts(line), style=styles[line.outcome])
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
