"""What the terminal shows of a run: its plan, how far it is, the time left, warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks.arguments import RunOptions
from benchmarks.execution import estimate
from benchmarks.execution.estimate import StepTimes, validation_rounds
from benchmarks.execution.local import Event
from benchmarks.execution.remaining import Remaining
from benchmarks.jobs.data import takes_root
from benchmarks.jobs.plan import Experiment, Plan
from benchmarks.jobs.results import result_path
from probseg.errors import ProbsegError

SHOWN = 12  # running experiments; a cluster may have hundreds
LOGGERS = ("benchmarks", "probseg.training")


class Progress:
    """The state of every experiment, shown at the foot of a terminal.

    Training itself is read from the folders of the experiments, to which every process that trains
    one writes its validation rounds; those of a machine that shares no disk show when they end.
    """

    def __init__(self, console: Console, out: Path, experiments: Sequence[Experiment]) -> None:
        self.console, self.out, self.experiments = console, out, experiments
        self.started: dict[str, float] = {}  # key of a running experiment to when it began
        self.done: set[str] = set()
        self.failed: set[str] = set()

    def shown(self) -> AbstractContextManager[object]:
        """Show the progress as long as the context lasts."""
        if not self.console.is_terminal:
            return nullcontext()
        get = self.__rich__
        return Live(console=self.console, get_renderable=get, refresh_per_second=1, transient=True)

    def update(self, event: Event) -> None:
        """Record what happened to an experiment."""
        key = event.experiment.key
        if event.kind == "started":
            self.started[key] = time.monotonic()
        elif event.kind != "retried":
            self.started.pop(key, None)
        if event.kind == "ended":
            (self.failed if event.result is None else self.done).add(key)

    def left(self) -> str:
        """Return the time until all experiments have ended, or nothing where no step was timed."""
        waiting = [one for one in self.experiments if one.key not in self.done | self.failed]
        times = estimate.step_times(self.experiments, self.out)
        seconds = estimate.seconds_left(waiting, self.out, times, at_once=len(self.started))
        return f"at most {estimate.duration(seconds)} left" if seconds else ""

    def __rich__(self) -> RenderableType:
        """Return the line of the run above one of each running experiment."""
        running = [experiment for experiment in self.experiments if experiment.key in self.started]
        groups = {"done": self.done, "failed": self.failed, "running": self.started}
        counts = [f"{len(keys)} {name}" for name, keys in groups.items() if keys]
        waiting = len(self.experiments) - sum(map(len, groups.values()))
        text = f"{len(self.experiments)} experiments: {', '.join([*counts, f'{waiting} waiting'])}"
        grid = Table.grid(padding=(0, 2))
        for experiment in running[:SHOWN]:
            grid.add_row(*self._row(experiment))
        return Group(Text(" · ".join(filter(None, [text, self.left()])), style="bold"), grid)

    def _row(self, experiment: Experiment) -> tuple[RenderableType, ...]:
        elapsed = estimate.duration(time.monotonic() - self.started[experiment.key])
        if not experiment.trained:
            return experiment.label, "", "", elapsed
        most, records = estimate.max_steps(experiment), validation_rounds(experiment, self.out)
        step = int(records[-1]["step"]) if records else 0
        bar = ProgressBar(total=most, completed=step, width=20)
        loss = f", validation {records[-1]['validation/loss']:.4g}" if records else ""
        return experiment.label, bar, f"step {step}/{most}, round {len(records)}{loss}", elapsed


def say(console: Console, text: str | Text, style: str = "") -> None:
    """Print a line as it is, whatever the width of the terminal."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Prints each warning on a console."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        say(self.console, f"    {record.getMessage()}", "yellow")


@contextmanager
def warnings_on(console: Console) -> Iterator[None]:
    """Show the warnings of the benchmark and of training on ``console``."""
    handler = _ConsoleHandler(console)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)


def show_plan(
    plan: Plan,
    options: RunOptions,
    remaining: Remaining,
    estimates: Mapping[str, estimate.Estimate | str] | None = None,
) -> None:
    """Print which experiments there are, what is done of each and what it takes.

    Times come from ``estimates``, by kind of experiment, and from validation rounds of the run.
    """
    out, values = options.out, (estimates or {}).values()
    measured = {k: e for k, e in (estimates or {}).items() if isinstance(e, estimate.Estimate)}
    times = {k: e.step for k, e in measured.items()} | estimate.step_times(plan.experiments, out)
    title = f"profile {plan.profile.name}: {plan.profile.description}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = ["data set", "row", "fold", "seed", "steps", "key", "state"]
    headings += ["at most"] * bool(times) + ["memory"] * bool(estimates)
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in ("data set", "row"), overflow="fold")
    for experiment in plan.experiments:
        numbers = (experiment.fold, experiment.seed, (experiment.training or {}).get("max_steps"))
        shown = ["–" if number is None else str(number) for number in numbers]
        row = [experiment.dataset, experiment.row, *shown, experiment.key]
        row.append(_state(experiment, out, remaining))
        kind, longest = estimate.kind(experiment), "–"
        if kind in times and experiment in remaining.to_run:
            longest = estimate.duration(estimate.steps_left(experiment, out) * times[kind])
        memory = f"{measured[kind].memory / 2**30:.1f} GiB" if kind in measured else "–"
        table.add_row(*row, *[longest] * bool(times), *[memory] * bool(estimates))
    console = Console()
    console.print(table)
    say(console, _counts(plan, options, remaining, times))
    for reason in dict.fromkeys(value for value in values if isinstance(value, str)):
        say(console, f"no estimate: {reason}", "yellow")
    show_unavailable(console, remaining.unavailable, options)


def _counts(plan: Plan, options: RunOptions, remaining: Remaining, times: StepTimes) -> str:
    done, left = len(remaining.finished), len(remaining.to_run)
    lacking = len(plan.experiments) - done - left
    counts = f"{left} to run, {done} finished" + (f", {lacking} without data" * bool(lacking))
    text = f"{len(plan.experiments)} experiments in {options.out}: {counts}"
    seconds = estimate.seconds_left(remaining.to_run, options.out, times, at_once=options.workers)
    if not seconds:
        return text
    by = f" by {options.workers} at once" if options.workers > 1 else ""
    return f"{text}; at most {estimate.duration(seconds)}{by}, less where training stops early"


def _state(experiment: Experiment, out: Path, remaining: Remaining) -> str:
    """Return "no data", "finished", "to run again", "to resume" or "to run"."""
    if experiment.dataset in remaining.unavailable:
        return "no data"
    if experiment.key in remaining.finished:
        return "finished"
    if result_path(experiment, out).exists():
        return "to run again"
    records = validation_rounds(experiment, out)
    if records:
        return f"to resume at step {int(records[-1]['step'])}"
    return "to resume" if (experiment.folder(out) / "training").exists() else "to run"


def show_unavailable(
    console: Console, unavailable: Mapping[str, ProbsegError], options: RunOptions
) -> None:
    """Print which data sets cannot run, and what it takes to run them."""
    rootless = [] if options.data_root else [name for name in unavailable if takes_root(name)]
    for name, error in unavailable.items():
        if name not in rootless:
            say(console, f"not run: {name}: {error}", "yellow")
    if rootless:
        say(console, f"not run, as their data are not here: {', '.join(rootless)}", "yellow")
        check = f"probseg data check {' '.join(rootless)} --root DIR"
        say(console, f"  what to get, and where it belongs: {check}")
        say(console, "  then: the same command with --data-root DIR; what is finished is kept")
