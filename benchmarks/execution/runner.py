"""Running a plan: finished experiments are kept, the others done, failures and the report shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module

from rich.console import Console
from rich.text import Text

from benchmarks.arguments import RunOptions
from benchmarks.execution.local import Attempt, Event, Executor, local_processes, serial
from benchmarks.execution.progress import Progress, say, show_unavailable, warnings_on
from benchmarks.execution.remaining import find_remaining
from benchmarks.jobs.data import forget_datasets
from benchmarks.jobs.output_folder import REPORT, held
from benchmarks.jobs.plan import Experiment, Plan
from benchmarks.jobs.results import Result
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings
from probseg.utils.atomic_files import sweep


def run_plan(plan: Plan, options: RunOptions) -> int:
    """Run every experiment, write the report and return the exit status.

    It is 1 where an experiment failed, or where nothing could run.

    Raises:
        OptionError: The device is not on this machine, or a setting is out of range.
        WriteError: The disk is full or read-only.
    """
    import_module("benchmarks.reports")  # names a missing package before the training
    console = Console()
    options = ready(plan.experiments, options)
    plan.suite.check_options()
    profile = plan.profile
    heading = f"profile [bold]{profile.name}[/] on {options.device}: {profile.description}"
    if profile.overrides:
        heading += "; with " + ", ".join(f"{k}={v}" for k, v in profile.overrides.items())
    console.print(heading, highlight=False)
    for row, plugin in plan.suite.absent.items():
        say(console, f"{row} is left out: the plugin {plugin} is not installed", "yellow")
    forget_datasets()
    with warnings_on(console):
        remaining = find_remaining(plan.experiments, options)
        runner = Runner(plan.experiments, options, console, remaining.finished)
        runner.run(remaining.to_run, choose_executor(options))
    if runner.results:
        _report(plan, options, runner.results, console)
        console.print(f"\ntables and pictures are in {options.out}", highlight=False, markup=False)
    show_unavailable(console, remaining.unavailable, options)
    for name, message in runner.failed.items():
        say(console, f"failed: {name}: {message}", "red")
    return int(bool(runner.failed) or not runner.results)


def choose_executor(options: RunOptions) -> Executor:
    """Return what does the experiments: this process, several local ones, or a Ray cluster."""
    if options.ray is not None:
        from benchmarks.execution.ray_cluster import ray_cluster

        share = options.gpus_per_experiment
        gpus = float(options.device.startswith("cuda")) if share is None else share
        return partial(ray_cluster, address=options.ray, gpus=gpus)
    if options.workers > 1:
        return partial(local_processes, count=options.workers)
    return serial


@dataclass(frozen=True)
class Runner:
    """Runs experiments of a plan, and collects what came of each."""

    experiments: Sequence[Experiment]
    options: RunOptions
    console: Console
    finished: dict[str, Result]  # by key
    failed: dict[str, str] = field(default_factory=dict)  # label of an experiment to its error
    _busy: list[Experiment] = field(default_factory=list)  # which another run does

    @property
    def results(self) -> list[Result]:
        """The results, in the order of the plan."""
        return [self.finished[one.key] for one in self.experiments if one.key in self.finished]

    def run(self, waiting: Sequence[Experiment], executor: Executor) -> None:
        """Run experiments; a failure of one stops no other.

        Raises:
            WriteError: The disk is full or read-only, which no other experiment would survive.
        """
        for experiment in self.experiments:
            if experiment.key in self.finished:
                say(self.console, f"{self._name(experiment)}: kept")
        progress = Progress(self.console, self.options.out, waiting)
        with progress.shown():
            for left, wait in ((waiting, False), (self._busy, True)):
                for event in executor(Attempt(self.options, wait), left) if left else ():
                    self._record(event, progress)

    def _record(self, event: Event, progress: Progress) -> None:
        experiment, name = event.experiment, self._name(event.experiment)
        left = progress.left() if event.kind == "started" else ""
        progress.update(event)
        if event.kind == "started":
            say(self.console, Text.assemble((name, "bold"), f" · {left}" if left else ""))
        elif event.kind == "retried":
            say(self.console, f"{name}: its process died and is begun again", "yellow")
        elif event.kind == "busy":
            self._busy.append(experiment)
            say(self.console, f"{name}: another run does it: later", "dim")
        elif event.result is None:
            self.failed[experiment.label] = event.error
            say(self.console, f"{name}: failed: {event.error}", "red")
        else:
            self.finished[experiment.key] = event.result
            say(self.console, f"{name}: {_summary(event.result)}", "dim")

    def _name(self, experiment: Experiment) -> str:
        number = self.experiments.index(experiment) + 1
        return f"[{number}/{len(self.experiments)}] {experiment.label}"


def _summary(result: Result) -> str:
    from benchmarks.reports.dataset_results import scored_as

    means, seconds = result.means["base"], result.timings.wall_s or 0.0
    shown = {"GED": "ged", "HM-IoU": "hungarian-iou", "diversity": "diversity", "Gini": "gini"}
    named = {heading: scored_as(metric, result) for heading, metric in shown.items()}
    values = (f"{k} {v:.3f}" for k, metric in named.items() if (v := means.get(metric)) is not None)
    return f"{' · '.join(values)} · {seconds:.0f} s"


def ready(experiments: Sequence[Experiment], options: RunOptions) -> RunOptions:
    """Check the settings of every training before the first one, and resolve device and paths.

    Paths become absolute, since another process may be in another folder.
    """
    for experiment in experiments:
        TrainingSettings(**{**(experiment.training or {}), "devices": options.devices})
    device = options.device
    if options.ray is None:  # the devices of a cluster are not known here
        settings = TrainingSettings(device=device, devices=options.devices)
        device = str(choose_execution(settings).device)
    root = None if options.data_root is None else options.data_root.absolute()
    return replace(options, device=device, out=options.out.absolute(), data_root=root)


def _report(plan: Plan, options: RunOptions, results: Sequence[Result], console: Console) -> None:
    from benchmarks.reports.runs import RunResults
    from benchmarks.reports.writer import write
    from probseg.reports.tables import to_terminal

    baselines = plan.suite.all.baselines
    competing = {c.row for c in plan.experiments if c.trained and c.row not in baselines}
    notes = {name: row.description for name, row in plan.suite.models.items()}
    run = RunResults(results, sorted(competing), notes)
    with held(REPORT, options.out):
        sweep(options.out)
        tables = write(run, options.out)
    for table in tables:
        console.print()
        console.print(to_terminal(table, narrow=True))
