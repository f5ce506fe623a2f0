"""The report of a speed run: tables for the terminal and Markdown, and everything as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.speed.contest import Contest, Row
from benchmarks.speed.machine import Machine
from probseg.utils.atomic_files import atomic_file, write_json

SCHEMA_VERSION = 1
HEADINGS = ("", "median", "spread", "times ours", "memory", "agreement")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured, where and by which command."""

    command: str
    machine: Machine
    topics: dict[str, list[Contest]] = field(default_factory=dict)  # name to its tables
    absent: dict[str, str] = field(default_factory=dict)  # name to why there are none


def to_rich(run: Run, topic: str) -> list[Table | str]:
    """Return a topic's tables for the terminal, or why there are none."""
    if topic in run.absent:
        return [f"{topic} is not here: {escape(run.absent[topic])}"]
    return [_rich_table(contest) for contest in run.topics[topic]]


def to_markdown(run: Run) -> str:
    """Return a whole run as Markdown."""
    parts = [f"`{run.command}`", _describe(run.machine)]
    for topic, contests in run.topics.items():
        parts.append(f"### {topic}")
        for contest in contests:
            parts += [f"**{contest.title}**", _markdown_table(contest), *_remarks(contest)]
    parts += [f"### {topic}\n\nNot here: {why}" for topic, why in run.absent.items()]
    return "\n\n".join(parts) + "\n"


def to_data(run: Run) -> dict[str, Any]:
    """Return a whole run as plain data, every round included."""
    return {
        "schema": SCHEMA_VERSION,
        "command": run.command,
        "machine": asdict(run.machine),
        "topics": {
            topic: [asdict(contest) | {"medians": _medians(contest)} for contest in contests]
            for topic, contests in run.topics.items()
        },
        "absent": run.absent,
    }


def write(folder: Path, run: Run) -> None:
    """Write ``speed.json`` and ``speed.md``.

    Raises:
        WriteError: They cannot be written.
    """
    write_json(folder / "speed.json", to_data(run))
    with atomic_file(folder / "speed.md") as temporary:
        temporary.write_text(to_markdown(run), encoding="utf-8")


def duration(seconds: float) -> str:
    """Return a duration with three significant digits in a fitting unit.

    >>> duration(0.01234), duration(1.5), duration(4.2e-5)
    ('12.3 ms', '1.50 s', '42.0 µs')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        value = seconds * factor
        if value >= 1 or unit == "µs":
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def _rich_table(contest: Contest) -> Table:
    remarks = escape("\n".join(_remarks(contest)))
    table = Table(title=contest.title, caption=remarks, caption_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("", "agreement") else "right")
    for row in contest.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    low, high = min(row.seconds), max(row.seconds)
    return (
        row.name,
        duration(row.median),
        f"{duration(low)} – {duration(high)}",
        f"{row.ratio:.2f} ({min(row.ratios):.2f}–{max(row.ratios):.2f})",
        f"{row.memory:,.0f} MB",
        row.agreement,
    )


def _markdown_table(contest: Contest) -> str:
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(_cells(row) for row in contest.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _remarks(contest: Contest) -> list[str]:
    remarks = list(contest.notes)
    if contest.floor is not None:
        share = contest.floor.seconds / contest.rows[0].median
        remarks.append(
            f"Floor: {duration(contest.floor.seconds)} ({contest.floor.why}); "
            f"{contest.rows[0].name} reaches {share:.0%} of it."
        )
    remarks += [f"Not here: {name} ({why})." for name, why in contest.missing.items()]
    return remarks


def _describe(machine: Machine) -> str:
    known = machine.description
    return (
        f"On {known['device']}: {known['processor']}, {known['cores']} cores, "
        f"{known['threads']} threads, {known['system']}. Measured: matrix products "
        f"{machine.fp32 / 1e9:,.0f} GFLOP/s in fp32 and {machine.bf16 / 1e9:,.0f} in bf16, copies "
        f"{machine.bandwidth / 1e9:.1f} GB/s. Medians of interleaved rounds, each contestant in "
        "its own process; spread is lowest to highest; “times ours” is the median of the "
        "rounds' ratios to the first row; memory is the most that a process held beyond what it "
        "held before."
    )


def _medians(contest: Contest) -> dict[str, dict[str, float]]:
    return {
        row.name: {"seconds": statistics.median(row.seconds), "ratio": row.ratio}
        for row in contest.rows
    }
