"""A session of the benchmark: the plan is run, reported, and told in a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.execution.estimate import Measured, measure_all
from benchmarks.execution.locks import REPORT, held
from benchmarks.execution.notices import shown_on
from benchmarks.execution.place import Place
from benchmarks.execution.runner import Outcome, Runner
from benchmarks.execution.scale import Scale
from benchmarks.execution.work import Work
from benchmarks.jobs.cells import Cell
from benchmarks.reports.tables import to_rich
from benchmarks.reports.writing import write
from benchmarks.suite.definition import Profile, Suite, check_options
from benchmarks.suite.validation import ChoiceError
from probseg.errors import OptionError
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings
from probseg.utils.atomic_files import sweep


def run(
    cells: Sequence[Cell],
    suite: Suite,
    profile: Profile,
    options: argparse.Namespace,
    *,
    scale: Scale,
) -> int:
    """Run every cell, write the report and return the exit status.

    Raises:
        ChoiceError: The device is not on this machine, or a setting is out of range.
        WriteError: The disk is full or read-only.
    """
    console = Console()
    device = check_settings(cells, options.device, devices=scale.devices, here=scale.ray is None)
    check_options(suite)
    told = f"profile [bold]{profile.name}[/] on {device}: {profile.description}"
    console.print(told + _changed(profile), highlight=False)
    work = _work(options, device, scale)
    with shown_on(console):
        outcome = Runner(work, scale.schedule(), console).run(cells)
    if outcome.finished:
        _report(outcome, cells, suite, options.out)
        console.print(f"\ntables and pictures are in {options.out}", highlight=False, markup=False)
    _tell_problems(outcome, console)
    return outcome.status


def _report(outcome: Outcome, cells: Sequence[Cell], suite: Suite, out: Path) -> None:
    console = Console()
    baselines = suite.all["baselines"]
    competing = {cell.row for cell in cells if cell.trained and cell.row not in baselines}
    notes = {name: entry.description for name, entry in suite.models.items()}
    with held(REPORT, out):
        sweep(out)
        tables = write(outcome.finished, out, competing=competing, notes=notes)
    for table in tables:
        console.print()
        console.print(to_rich(table))


def estimate(
    cells: Sequence[Cell], options: argparse.Namespace, *, scale: Scale
) -> dict[str, Measured | str]:
    """Return what each kind of cell takes on this machine, from a few steps of it.

    Raises:
        ChoiceError: The device is not on this machine, or a setting is out of range.
    """
    device = check_settings(cells, options.device, devices=scale.devices)
    return measure_all(_work(options, device, scale), cells)


def _work(options: argparse.Namespace, device: str, scale: Scale) -> Work:
    out, root = options.out, options.data_root  # absolute, since another process may be elsewhere
    place = Place(out.absolute(), device, scale.devices, scale.threads)
    return Work(place, None if root is None else Path(root).absolute())


def check_settings(
    cells: Sequence[Cell], device: str, *, devices: int = 1, here: bool = True
) -> str:
    """Check the settings of every training before the first one, and return where they run.

    Args:
        cells: What is to run.
        device: What was asked for.
        devices: How many train a cell together.
        here: Whether cells run on this machine, whose devices are known.

    Raises:
        ChoiceError: The device is not on this machine, or a setting is out of range.
    """
    try:
        for cell in cells:
            TrainingSettings.from_mapping({**(cell.training or {}), "devices": devices})
        settings = TrainingSettings(device=device, devices=devices)
        return str(choose_execution(settings).device) if here else device
    except OptionError as error:
        raise ChoiceError(str(error)) from error


def _changed(profile: Profile) -> str:
    changed = ", ".join(f"{key}={value}" for key, value in profile.overrides.items())
    return f"; with {changed}" if changed else ""


def _tell_problems(outcome: Outcome, console: Console) -> None:
    for name, remedy in outcome.unavailable.items():
        _tell(f"not run: {name}: {remedy}", "yellow", console)
    for label, error in outcome.failed.items():
        _tell(f"failed: {label}: {error}", "red", console)


def _tell(text: str, style: str, console: Console) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
