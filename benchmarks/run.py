"""``python -m benchmarks.run``: train, evaluate and picture every model on every data set."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import probseg
from benchmarks.arguments import RunOptions, add_data_root, choose
from benchmarks.jobs.plan import Plan, plan_experiments
from benchmarks.suite.definition import Profile, Suite, list_suite, list_suites, read_suite
from benchmarks.suite.files import find
from benchmarks.suite.settings import overrides
from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser
from probseg.errors import OptionError

# torch is imported only once there is something to run: --help and mistakes answer at once.

EXAMPLES = """
examples:
  %(prog)s --all
      the data sets of the paper's Tables 1 and 2 that are here, and contours, which is embedded
  %(prog)s --datasets contours
      the three models and the baselines on the embedded data: nothing to download
  %(prog)s --datasets lidc --data-root DATA --seed 0 1
  %(prog)s --suite context --datasets lidc --data-root DATA
      an ablation: what the flows of the cSAE may read
  %(prog)s --datasets contours --models csae --set max_steps=200 gamma=1 --dry-run
      what would run with other settings

Finished experiments are kept: the same command again goes on where it stopped, and changed settings
make experiments of their own. Exit status: 0 all is done, 1 an experiment failed or nothing could
run, 2 the command makes no sense, 130 interrupted (Ctrl-C or SIGTERM).
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of the command."""
    parser.argument_default = argparse.SUPPRESS  # what is not given has RunOptions' default
    add = parser.add_argument_group("what to run").add_argument
    add("--all", action="store_true", help="every data set and model of the suite")
    own = "an ablation below, or a TOML file of your own (default: the paper's)"
    add("--suite", metavar="NAME", help=own)
    add("--datasets", nargs="+", metavar="NAME", help="such as contours, lidc")
    rows = "rows of the suite, such as punet, csae-own, and models of installed plugins"
    add("--models", nargs="+", metavar="NAME", help=rows)
    add("--baselines", nargs="*", metavar="NAME", help="by default all; no name for none")
    add("--folds", nargs="+", type=int, metavar="N", help="of 0, 1, 2")
    add("--seed", dest="seeds", nargs="+", type=int, metavar="N", help="of training (default: 0)")
    add = parser.add_argument_group("how").add_argument
    fitting = "quick (a CPU), paper (a GPU) or auto, which picks one and says so"
    add("--profile", metavar="NAME", help=fitting)
    others = "settings other than the suite's"
    add("--set", dest="settings", nargs="+", metavar="KEY=VALUE", help=others)
    add("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    folders = parser.add_argument_group("where")
    add_data_root(folders)
    folders.add_argument("--out", type=Path, metavar="DIR", help="default: benchmarks/out")
    add = parser.add_argument_group("at which scale").add_argument
    add("--workers", type=int, metavar="N", help="experiments at once, here")
    cluster = "experiments on a Ray cluster; auto joins one that runs here, or starts one"
    add("--ray", metavar="ADDRESS", help=cluster)
    add("--gpus-per-experiment", type=float, metavar="X", help="of the Ray cluster, such as 0.5")
    add("--devices", type=int, metavar="N", help="GPUs (or processes) that share an experiment")
    cores = "of the processor, an experiment (default: the cores over the workers; 1 with --ray)"
    add("--threads", type=int, metavar="N", help=cores)
    add = partial(parser.add_argument, action="store_true", default=False)
    add("--list", help="show suites, rows, profiles and data sets, run nothing")
    add("--dry-run", help="show the plan, run nothing")
    add("--estimate", help="show it with time and memory, from a few steps")


COMMAND = Command(
    name="python -m benchmarks.run",
    summary="train, evaluate and picture models on data that several people annotated",
    add_arguments=add_arguments,
    run="benchmarks.run:run",
    examples=f"{list_suites()}\n{EXAMPLES}",
)
main = partial(run_program, COMMAND)


def options_of(arguments: argparse.Namespace) -> RunOptions:
    """Return the options of a run from the parsed command line.

    Raises:
        OptionError: A value is out of range, or two exclude each other.
    """
    names = {field.name for field in fields(RunOptions)}
    given = {key: value for key, value in vars(arguments).items() if key in names}
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return RunOptions(**{**given, **lists, "settings": overrides(given.get("settings", ()))})


def run(parsed: argparse.Namespace) -> int:
    """List, show or run what was asked for, and return the exit status."""
    if parsed.list:
        suite = getattr(parsed, "suite", RunOptions.suite)
        print(list_suite(read_suite(find(suite))))
        return 0
    options = options_of(parsed)
    plan = make_plan(options)
    with suppress(ValueError):  # SIGTERM does what Ctrl-C does, where this is the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown = parsed.dry_run or parsed.estimate
    try:
        if shown:
            return _show(plan, options, estimated=parsed.estimate)
        from benchmarks.execution.runner import run_plan

        return run_plan(plan, options)
    except KeyboardInterrupt:
        resume = "begins anew" if shown else "goes on from here"
        print(f"\ninterrupted; the same command {resume}", file=sys.stderr)
        return 130


def _show(plan: Plan, options: RunOptions, *, estimated: bool) -> int:
    from benchmarks.execution.progress import show_plan
    from benchmarks.execution.remaining import find_remaining

    remaining, estimates = find_remaining(plan.experiments, options, pack=estimated), None
    if estimated:
        from benchmarks.execution.estimate import estimate_all
        from benchmarks.execution.runner import ready

        estimates = estimate_all(ready(plan.experiments, options), remaining.to_run)
    show_plan(plan, options, remaining, estimates)
    return 0


def make_plan(options: RunOptions) -> Plan:
    """Check every name and return the experiments that a run has.

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
    experiments = plan_experiments(
        suite, profile, datasets=datasets, rows=rows, folds=folds, seeds=options.seeds
    )
    return Plan(suite, profile, experiments)


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
    if options.gpus_per_experiment or options.device.startswith("cuda"):
        return True  # of a cluster, though this machine may have none
    if options.device != "auto":
        return False
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
