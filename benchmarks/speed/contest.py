"""A contest: contestants that take turns, what each took, and whether they agree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.workers import Contestant, NotInstalledError, Worker
from probseg.errors import ProbsegError

OURS = "probseg"
_SHORTEST = 0.02  # seconds a turn lasts at least, so that the clock and the pipe do not count
_LONG = 1.0  # a call that takes so long warms up enough

Agree = Callable[[Any, Any], str]  # ours, theirs -> in words; raises Disagreement


class Disagreement(ProbsegError):
    """Two contestants that should compute the same do not."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who takes part."""

    name: str
    make: Callable[..., Contestant]
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    agree: Agree | None = None  # with the first entry; None where there is nothing to compare


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one contestant took."""

    name: str
    seconds: list[float]  # of each round, one call
    ratios: list[float]  # to the first contestant's of the same round
    peak: float  # MB that its process held at most, or one that it ran and waited for
    start: float  # MB that it held before its first turn
    agreement: str

    @property
    def memory(self) -> float:
        """What it took at most, in MB."""
        return self.peak - self.start

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: how many times as long as the first."""
        return statistics.median(self.ratios)


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What this machine cannot do faster."""

    seconds: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One table of the report."""

    title: str
    rows: list[Row]  # the first is ours
    missing: dict[str, str] = field(default_factory=dict)  # name to why it did not take part
    floor: Floor | None = None
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row:
        """Return the row of that name."""
        return next(row for row in self.rows if row.name == name)


def hold(
    title: str,
    entries: Sequence[Entry],
    *,
    rounds: int,
    floor: Floor | None = None,
    notes: Sequence[str] = (),
    watch: Callable[[str], None] = lambda text: None,
) -> Contest:
    """Let the entries take turns, the first of which the others are compared with.

    Each lives in its own process; round r starts with entry r, so that nobody always follows the
    same one.

    Args:
        title: Of the table.
        entries: Ours first.
        rounds: How many turns each takes.
        floor: What the machine allows.
        notes: Sentences below the table.
        watch: Told what is going on.

    Raises:
        Disagreement: An answer differs from the first entry's by more than its bound.
        ContestantError: One failed.
    """
    missing: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        for entry in entries:
            watch(f"{title}: preparing {entry.name}")
            try:
                worker = Worker(entry.make, entry.options, entry.environment)
            except NotInstalledError as error:
                missing[entry.name] = str(error)
                continue
            workers[entry.name] = stack.enter_context(worker)
        here = [entry for entry in entries if entry.name in workers]
        agreements = _agreements(here, workers)
        calls = {name: _calls(worker) for name, worker in workers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for turn in range(rounds):
            watch(f"{title}: round {turn + 1} of {rounds}")
            for place in range(len(here)):
                name = here[(turn + place) % len(here)].name
                seconds[name].append(workers[name].seconds(calls[name]))
        first = seconds[here[0].name]
        rows = [
            Row(
                name=name,
                seconds=taken,
                ratios=[theirs / ours for theirs, ours in zip(taken, first, strict=True)],
                **workers[name].memory(),
                agreement=agreements[name],
            )
            for name, taken in seconds.items()
        ]
    return Contest(title=title, rows=rows, missing=missing, floor=floor, notes=list(notes))


def _agreements(entries: Sequence[Entry], workers: Mapping[str, Worker]) -> dict[str, str]:
    texts = {entry.name: "" for entry in entries}
    if any(entry.agree for entry in entries):
        ours = workers[entries[0].name].answer()
        for entry in entries:
            if entry.agree is not None:
                try:
                    texts[entry.name] = entry.agree(ours, workers[entry.name].answer())
                except Disagreement as error:
                    raise Disagreement(f"{entries[0].name} and {entry.name}: {error}") from None
    return texts


def _calls(worker: Worker) -> int:
    """Return how often to call in a turn; the calls that find out warm it up."""
    if worker.seconds() > _LONG:
        return 1
    return max(1, math.ceil(_SHORTEST / max(worker.seconds(), 1e-9)))
