"""A comparison: candidates that take turns, the time of each, and whether their answers agree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.speed.timing import Machine
from benchmarks.speed.workers import NotInstalledError, Worker, Workload, WorkloadError
from probseg.errors import ProbsegError

OURS = "probseg"
_SHORTEST = 0.02  # seconds a turn lasts at least, so that clock and pipe do not count
_LONG = 1.0  # seconds of a call that needs no further warm-up

Agree = Callable[[Any, Any], str]  # our answer, theirs -> how well they agree, or Disagreement


class Disagreement(ProbsegError):
    """Two candidates that should compute the same do not."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A lower bound of the time on this machine."""

    seconds: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where and how to measure."""

    machine: Machine
    device: str = "cpu"  # or "cuda"
    rounds: int = 7
    small: bool = False  # tiny sizes, to see that it works
    data_root: Path | None = None
    watch: Callable[[str], None] = lambda text: None  # is told what is being measured

    def size(self, usual: int, small: int) -> int:
        """Return the usual size, or the small one where tiny sizes are asked for."""
        return small if self.small else usual

    def floor(self, flops: float, precision: Literal["fp32", "bf16"]) -> Floor:
        """Return the time of so many operations at the speed of matrix products."""
        rate = self.machine.bf16 if precision == "bf16" else self.machine.fp32
        count = f"{flops / 1e9:,.0f}" if flops >= 1e11 else f"{flops / 1e9:.1f}"
        why = f"{count} GFLOP at the measured {rate / 1e9:,.0f} GFLOP/s in {precision}"
        return Floor(seconds=flops / rate, why=why)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A named workload that is compared with others."""

    name: str
    make: Callable[..., Workload]
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    agree: Agree | None = None  # with the first candidate; None if there is nothing to compare


@dataclass(frozen=True, kw_only=True)
class Row:
    """The measurements of one candidate."""

    name: str
    seconds: list[float]  # of a call, one value a round
    ratios: list[float]  # to the first candidate's seconds in the same round
    peak: float  # MB that its process, or one that it ran and waited for, held at most
    start: float  # MB that it held before its first turn
    agreement: str

    @property
    def memory(self) -> float:
        """The most memory it took beyond what it held at the start, in MB."""
        return self.peak - self.start

    @property
    def median(self) -> float:
        """The median seconds over the rounds."""
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: how many times as long as the first candidate."""
        return statistics.median(self.ratios)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One table of the report."""

    title: str
    rows: list[Row]  # ours first
    missing: dict[str, str] = field(default_factory=dict)  # name to why it was not measured
    floor: Floor | None = None
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row:
        """Return the row of that name."""
        return next(row for row in self.rows if row.name == name)


def compare(
    title: str,
    candidates: Sequence[Candidate],
    settings: Settings,
    *,
    floor: Floor | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Measure candidates in turns and compare the others with the first.

    Each lives in a process of its own. Round r starts with candidate r, so that none always follows
    the same one.

    Args:
        title: Of the table.
        candidates: Ours first.
        settings: Number of rounds, and who is told about progress.
        floor: What the machine allows.
        notes: Sentences below the table.

    Raises:
        Disagreement: An answer differs from the first candidate's by more than its bound.
        WorkloadError: The first candidate could not be made, or one failed while measured.
    """
    workers = {c.name: Worker(c.make, c.options, c.environment) for c in candidates}
    with ExitStack() as stack:
        for worker in workers.values():
            stack.callback(worker.close)
        settings.watch(f"{title}: preparing")
        missing = _wait_until_ready(workers)
        workers = {name: worker for name, worker in workers.items() if name not in missing}
        agreements = _agreements([c for c in candidates if c.name in workers], workers)
        seconds = _take_turns(title, workers, settings)
        memory = {name: worker.memory() for name, worker in workers.items()}
    first = next(iter(seconds.values()))
    rows = [
        Row(
            name=name,
            seconds=own,
            ratios=[theirs / ours for theirs, ours in zip(own, first, strict=True)],
            **memory[name],
            agreement=agreements[name],
        )
        for name, own in seconds.items()
    ]
    return Comparison(title=title, rows=rows, missing=missing, floor=floor, notes=list(notes))


def _wait_until_ready(workers: Mapping[str, Worker]) -> dict[str, str]:
    """Return the workers that could not be made, save the first one, and why.

    Raises:
        WorkloadError: The first failed, which the others are compared with.
    """
    missing: dict[str, str] = {}
    for name, worker in workers.items():
        try:
            worker.wait_until_ready()
        except WorkloadError as error:  # such as a package that lacks, a compiler, memory
            if not isinstance(error, NotInstalledError) and worker is next(iter(workers.values())):
                raise
            missing[name] = str(error).strip().splitlines()[-1]  # which ends a traceback
    return missing


def _agreements(candidates: Sequence[Candidate], workers: Mapping[str, Worker]) -> dict[str, str]:
    texts = {candidate.name: "" for candidate in candidates}
    first = candidates[0].name
    if any(candidate.agree for candidate in candidates):
        ours = workers[first].answer()
        for candidate in candidates:
            if candidate.agree is not None:
                theirs = workers[candidate.name].answer()
                try:
                    texts[candidate.name] = candidate.agree(ours, theirs)
                except Disagreement as error:
                    raise Disagreement(f"{first} and {candidate.name}: {error}") from None
    return texts


def _take_turns(
    title: str, workers: Mapping[str, Worker], settings: Settings
) -> dict[str, list[float]]:
    """Return the seconds of a call of each worker, one value a round."""
    calls = {name: _calls(worker) for name, worker in workers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    names = list(workers)
    for turn in range(settings.rounds):
        settings.watch(f"{title}: round {turn + 1} of {settings.rounds}")
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(workers[name].seconds(calls[name]))
    return seconds


def _calls(worker: Worker) -> int:
    """Return how often to call in a turn; the calls that find out warm it up."""
    if worker.seconds() > _LONG:
        return 1
    return max(1, math.ceil(_SHORTEST / max(worker.seconds(), 1e-9)))
