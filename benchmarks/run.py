"""``python -m benchmarks.run``: train, evaluate and picture every model on every data set."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.execution import scale
from benchmarks.execution.signals import sigterm_interrupts
from benchmarks.jobs.cells import Cell, plan
from benchmarks.suite import choices, listing
from benchmarks.suite.choices import Parser
from benchmarks.suite.definition import Profile, Suite, read_suite, with_installed
from benchmarks.suite.files import find
from benchmarks.suite.validation import ChoiceError, choose
from probseg.errors import ProbsegError

# torch is imported only once there is something to run: --help and mistakes answer at once.

EXAMPLES = """
examples:
  %(prog)s --all
      the paper's Tables 1 and 2, by the profile that fits this machine
  %(prog)s --datasets contours
      the three models and the baselines on the embedded data: nothing to download
  %(prog)s --datasets lidc --data-root DATA --seed 0 1
  %(prog)s --suite context --datasets lidc --data-root DATA
      an ablation: what the flows of the cSAE may read
  %(prog)s --datasets contours --models csae --set max_steps=200 gamma=1 --dry-run
      what would run with other settings

Finished cells are kept: the same command again goes on where it stopped, and changed settings
make cells of their own. Exit status: 0 all is done, 1 a cell failed or nothing could run,
2 the command makes no sense, 130 interrupted (Ctrl-C or SIGTERM).
"""


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.run",
        description="Train, evaluate and picture models on data that several people annotated.",
        epilog=f"{listing.suites()}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--all", action="store_true", help="every data set and model of the suite")
    what.add_argument(
        "--suite",
        default="suite",
        metavar="NAME",
        help="an ablation below, or a TOML file of your own (default: the paper's)",
    )
    what.add_argument("--datasets", nargs="+", metavar="NAME", help="such as contours, lidc")
    what.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="rows of the suite, such as punet, csae-own, and models of installed plugins",
    )
    what.add_argument(
        "--baselines", nargs="*", metavar="NAME", help="by default all; no name for none"
    )
    what.add_argument("--folds", nargs="+", type=int, metavar="N", help="of 0, 1, 2")
    what.add_argument(
        "--seed", nargs="+", type=int, default=[0], metavar="N", help="of training (default: 0)"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--profile",
        default="auto",
        metavar="NAME",
        help="quick (a CPU), paper (a GPU) or auto, which picks one and says so",
    )
    how.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings other than the suite's"
    )
    how.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps"
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="folder of the data sets that are not embedded (default: $PROBSEG_DATA)",
    )
    where.add_argument(
        "--out",
        type=Path,
        default=Path("benchmarks/out"),
        metavar="DIR",
        help="default: %(default)s",
    )
    scale.add_to(parser)
    parser.add_argument(
        "--list", action="store_true", help="show suites, rows, profiles and data sets, run nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, run nothing")
    parser.add_argument(
        "--estimate", action="store_true", help="show it with time and memory, from a few steps"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.list:
            print(listing.everything(read_suite(find(options.suite))))
            return 0
        size = scale.chosen(options)
        suite, profile, cells = make_plan(options)
        if options.dry_run or options.estimate:
            return _preview(cells, profile, options, size)
        with sigterm_interrupts():
            from benchmarks.execution.session import run

            return run(cells, suite, profile, options, scale=size)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except ChoiceError as error:
        return parser.complain(error)
    except ProbsegError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def _preview(
    cells: list[Cell], profile: Profile, options: argparse.Namespace, size: scale.Scale
) -> int:
    from benchmarks.execution.preview import preview

    estimates = None
    if options.estimate:
        from benchmarks.execution.session import estimate

        estimates = estimate(cells, options, scale=size)
    return preview(cells, profile, options.out, width=size.workers, estimates=estimates)


def make_plan(options: argparse.Namespace) -> tuple[Suite, Profile, list[Cell]]:
    """Check every choice and return the cells they amount to.

    Raises:
        ChoiceError: A choice makes no sense.
    """
    suite = read_suite(find(options.suite))
    datasets = choices.datasets(options, suite)
    rows = choices.rows(options, suite)
    overrides = choices.overrides(options.set)
    choices.check_folds(options.folds or ())
    choices.check_seeds(options.seed)
    choices.check_places(options.data_root, options.out, options.device)
    if options.profile != "auto":
        choose([options.profile], ["auto", *suite.profiles], kind="profile")
    device = "cuda" if options.gpus_per_cell else options.device  # this machine may have no GPU
    name = choices.profile(options.profile, device)
    profile = replace(suite.profiles[name], overrides=overrides)
    suite = with_installed(suite, rows)
    folds = options.folds or profile.folds
    cells = plan(suite, profile, datasets=datasets, rows=rows, folds=folds, seeds=options.seed)
    return suite, profile, cells


if __name__ == "__main__":
    sys.exit(main())
