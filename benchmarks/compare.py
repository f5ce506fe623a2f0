"""``python -m benchmarks.compare``: two runs side by side, as tables."""

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
  %(prog)s before after --out difference.md

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
        metavar="FILE",
        help="write every value, with intervals and p, as Markdown",
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
    """Compare the runs, print what differs, and return exit status 0.

    Raises:
        OptionError: The runs share no row.
        ResultError: A folder has no results.
        WriteError: The disk is full or read-only.
    """
    from rich.console import Console

    from benchmarks.reports import run_comparison
    from benchmarks.reports.runs import load
    from probseg.reports.tables import to_markdown, to_terminal
    from probseg.utils.atomic_files import atomic_file

    runs = load(options.first), load(options.second)
    first, second = map(run_comparison.rows_of, runs)
    lines = run_comparison.compare_runs(first, second)
    changed = [line for line in lines if line.change != 0]
    remarks = [
        f"{len(lines) - len(changed)} of {len(lines)} values are the same in both",
        *(f"differs: {text}" for text in run_comparison.changed_settings(first, second)),
        *(f"left out: {problem}" for run in runs for problem in run.problems),
    ]
    console = Console()
    for table in run_comparison.lines_tables(changed, columns=6):
        console.print(to_terminal(table))
    for remark in remarks:
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    if options.out:
        parts = [
            *map(to_markdown, run_comparison.lines_tables(lines)),
            *map("- {}".format, remarks),
        ]
        with atomic_file(options.out) as temporary:
            temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
