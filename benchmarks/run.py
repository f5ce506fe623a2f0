"""``python -m benchmarks.run``: train, evaluate and picture every model on every data set."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, NoReturn

import probseg
from benchmarks.arguments import RunOptions, choose
from benchmarks.jobs.cells import Plan, plan_cells
from benchmarks.suite.definition import Profile, Suite, list_suite, list_suites, read_suite
from benchmarks.suite.files import find
from benchmarks.suite.settings import overrides
from probseg.cli.parser import Parser
from probseg.errors import OptionError

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
    """Return the parser of the command line; defaults are those of :class:`RunOptions`."""
    parser = Parser(
        prog="python -m benchmarks.run",
        description="Train, evaluate and picture models on data that several people annotated.",
        epilog=f"{list_suites()}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    RunOptions.add_to(parser)
    shown = {
        "--list": "show suites, rows, profiles and data sets, run nothing",
        "--dry-run": "show the plan, run nothing",
        "--estimate": "show it with time and memory, from a few steps",
    }
    for option, text in shown.items():
        parser.add_argument(option, action="store_true", default=False, help=text)
    return parser


def options_of(arguments: argparse.Namespace) -> RunOptions:
    """Return the options of a run from the parsed command line.

    Raises:
        OptionError: A value is out of range, or two exclude each other.
    """
    names = {field.name for field in fields(RunOptions)}
    given = {key: value for key, value in vars(arguments).items() if key in names}
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return RunOptions(**{**given, **lists, "settings": overrides(given.get("settings", ()))})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    return parser.run(lambda: _run(parsed))


def _run(parsed: argparse.Namespace) -> int:
    if parsed.list:
        suite = getattr(parsed, "suite", RunOptions.suite)
        print(list_suite(read_suite(find(suite))))
        return 0
    options = options_of(parsed)
    plan = make_plan(options)
    if parsed.dry_run or parsed.estimate:
        from benchmarks.execution.preview import show_plan

        estimates = None
        if parsed.estimate:
            from benchmarks.execution.runner import estimate_plan

            estimates = estimate_plan(plan, options)
        show_plan(plan, options, estimates)
        return 0
    try:
        with sigterm_interrupts():
            from benchmarks.execution.runner import run_plan

            return run_plan(plan, options)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130


def make_plan(options: RunOptions) -> Plan:
    """Check every name and return the cells that a run has.

    Raises:
        OptionError: A name is unknown, or nothing is chosen.
    """
    suite = read_suite(find(options.suite))
    if not options.datasets and not options.all:
        raise OptionError("say what to run: --all, or --datasets NAME …")
    datasets = choose(options.datasets or suite.all.datasets, probseg.datasets, kind="data set")
    rows = _rows(options, suite)
    profile = _profile(options, suite)
    suite = suite.with_installed(rows)
    folds = options.folds or profile.folds
    cells = plan_cells(
        suite, profile, datasets=datasets, rows=rows, folds=folds, seeds=options.seeds
    )
    return Plan(suite, profile, cells)


def _rows(options: RunOptions, suite: Suite) -> tuple[str, ...]:
    """Return models, then baselines; models may have no row in the suite."""
    baselines = suite.all.baselines if options.baselines is None else options.baselines
    models = options.models or suite.all.models
    known = dict.fromkeys([*suite.models, *probseg.models])
    return choose(models + baselines, known, kind="model")


def _profile(options: RunOptions, suite: Suite) -> Profile:
    """Return the profile; "auto" is the paper's on a GPU and the quick one elsewhere."""
    choose([options.profile], ["auto", *suite.profiles], kind="profile")
    name = options.profile
    if name == "auto":
        name = "paper" if _trains_on_gpu(options) else "quick"
    return replace(suite.profiles[name], overrides=options.settings)


def _trains_on_gpu(options: RunOptions) -> bool:
    if options.gpus_per_cell or options.device.startswith("cuda"):
        return True  # of a cluster, though this machine may have none
    if options.device != "auto":
        return False
    import torch

    return torch.cuda.is_available()


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM, by which schedulers and ``kill`` end a process, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # only there can it be caught
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
