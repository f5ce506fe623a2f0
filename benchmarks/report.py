"""``python -m benchmarks.report``: make a run's tables and figures again, without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser

if TYPE_CHECKING:
    from benchmarks.reports.runs import RunResults

EXAMPLES = """
examples:
  %(prog)s benchmarks/out
      make the report of the last run anew, in its folder
  %(prog)s benchmarks/results
      every committed run, each in its folder
  %(prog)s benchmarks/results/lidc-quick --out report
  %(prog)s benchmarks/out --export benchmarks/results/mine
      keep the results of a run, without checkpoints, small enough to commit
  %(prog)s lidc-run growth-run --export both
      bring two runs together, for the paper's tables
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULTS",
        help="a run's folder, an exported one, or a folder of such folders",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, metavar="DIR", help="default: where the results are")
    where.add_argument(
        "--export", type=Path, metavar="DIR", help="copy the results there, and report on them"
    )
    parser.add_argument(
        "--everything",
        action="store_true",
        help="every finished cell, not only those of the folder's last run",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="export no images, which may not be passed on"
    )


COMMAND = Command(
    name="python -m benchmarks.report",
    summary="make tables, figures, statistics and verdicts from results",
    add_arguments=add_arguments,
    run="benchmarks.report:run",
    examples=EXAMPLES,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_program(COMMAND, arguments)


def run(options: argparse.Namespace) -> int:
    """Write the report of each run, or export all of them as one, and return exit status 0."""
    from benchmarks.reports.runs import load, run_folders

    folders = [one for folder in options.results for one in run_folders(folder)]
    runs = {folder: load(folder, everything=options.everything) for folder in folders}
    for problem in chain.from_iterable(run.problems for run in runs.values()):
        print(f"left out: {problem}", file=sys.stderr)
    if options.export:
        export(runs, options.export, pictures=not options.no_pictures)
        return 0
    for folder, run in runs.items():
        out = options.out or folder
        report(run, out / folder.name if options.out and len(runs) > 1 else out, folder=folder)
    return 0


def report(run: RunResults, out: Path, *, folder: Path) -> None:
    """Write the report of one run; the parts of several profiles get a folder each."""
    from benchmarks.reports.runs import by_profile
    from benchmarks.reports.writer import write

    parts = by_profile(run)
    for profile, part in parts.items():
        into = out / profile if len(parts) > 1 else out
        write(part, into, folder=folder)
        print(f"{len(part.results)} results of {folder}: tables and figures are in {into}")


def export(runs: Mapping[Path, RunResults], out: Path, *, pictures: bool) -> None:
    """Copy the results of runs into one folder, and write its report."""
    from benchmarks.reports.runs import export, load, size

    combined = export(runs, out, with_pictures=pictures)
    print(f"{len(combined.results)} results, {size(out) / 1e6:.2f} MB, are in {out}")
    report(load(out), out, folder=out)


if __name__ == "__main__":
    sys.exit(main())
