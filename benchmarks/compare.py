"""``python -m benchmarks.compare``: two runs side by side, in the terminal and as a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser

EXAMPLES = """
examples:
  %(prog)s benchmarks/out other/out
  %(prog)s before after --out difference.html

Rows of the same profile, data set and name are compared. A difference is called better or worse
where both runs scored the same images and Wilcoxon's signed-rank test, corrected by Holm, and the
bootstrap interval over patients agree.

Exit status: 0 done, 1 the results cannot be read, 2 the command makes no sense.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("first", type=Path, metavar="RUN_A", help="folder of a run")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="folder of another")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        metavar="FILE",
        help="the page (default: %(default)s)",
    )


COMMAND = Command(
    name="python -m benchmarks.compare",
    summary="show two runs side by side: same rows, differences, settings that differ",
    add_arguments=add_arguments,
    run="benchmarks.compare:run",
    examples=EXAMPLES,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_program(COMMAND, arguments)


def run(options: argparse.Namespace) -> int:
    """Compare the runs and return exit status 0."""
    return compare(options.first, options.second, options.out)


def compare(first_folder: Path, second_folder: Path, out: Path) -> int:
    """Compare two runs, print tables and write the page.

    Raises:
        OptionError: The runs share no row.
        ResultError: A folder has no results.
        WriteError: The disk is full or read-only.
    """
    from rich.console import Console

    from benchmarks.reports import run_comparison
    from benchmarks.tables import to_terminal

    first, second = map(run_comparison.read_run, (first_folder, second_folder))
    lines = run_comparison.compare_runs(first, second)
    settings = run_comparison.changed_settings(first, second)
    run_comparison.write_comparison((first, second), lines, settings, out)
    console = Console()
    changed = [line for line in lines if line.change != 0]
    for table in run_comparison.lines_tables(changed, columns=6):
        console.print(to_terminal(table))
    console.print(f"{len(lines) - len(changed)} of {len(lines)} values are the same in both")
    for setting in settings:
        rows = "" if setting.everywhere else f" ({', '.join(setting.rows)})"
        text = f"differs: {setting.name}: {setting.first} → {setting.second}{rows}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for remark in (*first.remarks, *second.remarks):
        console.print(remark, style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"the page is {out}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
