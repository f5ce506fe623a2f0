"""Running a plan: its settings are checked, its cells run, its report written and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.console import Console

from benchmarks.arguments import RunOptions
from benchmarks.execution.attempts import Executor, serial
from benchmarks.execution.estimate import Estimate, estimate_all
from benchmarks.execution.progress import warnings_on
from benchmarks.execution.runner import Runner
from benchmarks.jobs.cells import Cell, Plan
from benchmarks.jobs.data import forget_datasets
from benchmarks.jobs.output_folder import REPORT, held
from benchmarks.jobs.results import Result
from benchmarks.suite.definition import Profile
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings
from probseg.utils.atomic_files import sweep


def run_plan(plan: Plan, options: RunOptions) -> int:
    """Run every cell, write the report and return the exit status.

    Raises:
        OptionError: The device is not on this machine, or a setting is out of range.
        WriteError: The disk is full or read-only.
    """
    console = Console()
    options = _ready(plan.cells, options)
    plan.suite.check_options()
    forget_datasets()
    console.print(_heading(plan.profile, options), highlight=False)
    with warnings_on(console):
        outcome = Runner(options, choose_executor(options), console).run(plan.cells)
    if outcome.finished:
        _report(outcome.finished, plan, options)
        console.print(f"\ntables and pictures are in {options.out}", highlight=False, markup=False)
    _print_problems("not run", outcome.unavailable, "yellow", console)
    _print_problems("failed", outcome.failed, "red", console)
    return outcome.status


def estimate_plan(plan: Plan, options: RunOptions) -> dict[str, Estimate | str]:
    """Return what each kind of cell takes on this machine, from a few steps of it.

    Raises:
        OptionError: The device is not on this machine, or a setting is out of range.
    """
    return estimate_all(_ready(plan.cells, options), plan.cells)


def choose_executor(options: RunOptions) -> Executor:
    """Return what does the cells: this process, several local ones, or a Ray cluster."""
    if options.ray is not None:
        from benchmarks.execution.ray_cluster import RayCluster

        return RayCluster(options.ray, options.ray_gpus_per_cell)
    if options.workers > 1:
        from benchmarks.execution.local import LocalProcesses

        return LocalProcesses(options.workers)
    return serial


def _ready(cells: Sequence[Cell], options: RunOptions) -> RunOptions:
    """Check the settings of every training before the first one, and resolve device and paths.

    Paths become absolute, since another process may be in another folder.
    """
    for cell in cells:
        TrainingSettings.from_mapping({**(cell.training or {}), "devices": options.devices})
    device = options.device
    if options.ray is None:  # the devices of a cluster are not known here
        settings = TrainingSettings(device=device, devices=options.devices)
        device = str(choose_execution(settings).device)
    root = None if options.data_root is None else options.data_root.absolute()
    return replace(options, device=device, out=options.out.absolute(), data_root=root)


def _heading(profile: Profile, options: RunOptions) -> str:
    changed = ", ".join(f"{key}={value}" for key, value in profile.overrides.items())
    text = f"profile [bold]{profile.name}[/] on {options.device}: {profile.description}"
    return f"{text}; with {changed}" if changed else text


def _report(results: Sequence[Result], plan: Plan, options: RunOptions) -> None:
    from benchmarks.reports.runs import Run
    from benchmarks.reports.writer import write
    from benchmarks.tables import to_terminal

    console = Console()
    baselines = plan.suite.all.baselines
    competing = {c.row for c in plan.cells if c.trained and c.row not in baselines}
    notes = {name: row.description for name, row in plan.suite.models.items()}
    run = Run(results, sorted(competing), notes)
    with held(REPORT, options.out):
        sweep(options.out)
        tables = write(run, options.out)
    for table in tables:
        console.print()
        console.print(to_terminal(table, narrow=True))


def _print_problems(kind: str, problems: Mapping[str, str], style: str, console: Console) -> None:
    for name, message in problems.items():
        line = f"{kind}: {name}: {message}"
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
