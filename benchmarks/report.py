"""``python -m benchmarks.report``: make a run's tables and figures again, without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.suite.choices import Parser
from probseg.errors import ProbsegError

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


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.report",
        description="Make tables, figures, statistics and verdicts from results.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        return _export(options) if options.export else _report(options)
    except ProbsegError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def _report(options: argparse.Namespace) -> int:
    from benchmarks.reports.stored import runs

    found = [run for folder in options.results for run in runs(folder)]
    for run in found:
        out = options.out or run
        _write(run, out / run.name if options.out and len(found) > 1 else out, options.everything)
    return 0


def _write(run: Path, out: Path, everything: bool) -> None:
    from benchmarks.reports.stored import by_profile, load
    from benchmarks.reports.writing import write

    stored = load(run, everything=everything)
    _warn(stored.refused)
    parts = by_profile(stored)
    for profile, part in parts.items():
        to = out / profile if len(parts) > 1 else out
        write(part.finished, to, competing=part.competing, notes=part.notes, source=run)
        print(f"{len(part.finished)} results of {run}: tables and figures are in {to}")


def _export(options: argparse.Namespace) -> int:
    from benchmarks.reports.export import export, size
    from benchmarks.reports.stored import load, runs

    found = [run for folder in options.results for run in runs(folder)]
    stored = {run: load(run, everything=options.everything) for run in found}
    whole = export(stored, options.export, pictures=not options.no_pictures)
    _warn(whole.refused)
    kept = f"{len(whole.finished)} results, {size(options.export) / 1e6:.2f} MB"
    print(f"{kept}, are in {options.export}")
    _write(options.export, options.export, False)
    return 0


def _warn(refused: Sequence[str]) -> None:
    for told in refused:
        print(f"left out: {told}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
