"""The report of a speed run: tables for the terminal and Markdown, and everything as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.speed.comparison import Comparison, Row
from benchmarks.speed.timing import Machine
from probseg.reports.tables import Column, Table, to_markdown
from probseg.utils.atomic_files import atomic_file, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured, where and by which command."""

    command: str
    machine: Machine
    topics: dict[str, list[Comparison]] = field(default_factory=dict)  # name to its tables
    absent: dict[str, str] = field(default_factory=dict)  # name to why there are none


COLUMNS: tuple[Column[Row], ...] = (
    Column("", lambda row: row.name, number=False),
    Column("median", lambda row: duration(row.median)),
    Column("spread", lambda row: f"{duration(min(row.seconds))} – {duration(max(row.seconds))}"),
    Column(
        "times ours", lambda row: f"{row.ratio:.2f} ({min(row.ratios):.2f}–{max(row.ratios):.2f})"
    ),
    Column("memory", lambda row: f"{row.memory:,.0f} MB"),
    Column("agreement", lambda row: row.agreement, number=False),
)


def to_table(comparison: Comparison) -> Table:
    """Return the table of a comparison, with its remarks as notes."""
    notes = list(comparison.notes)
    if comparison.floor is not None:
        first = comparison.rows[0]
        notes.append(
            f"Floor: {duration(comparison.floor.seconds)} ({comparison.floor.why}); "
            f"{first.name} reaches {comparison.floor.seconds / first.median:.0%} of it."
        )
    notes += [f"Not here: {name} ({why})." for name, why in comparison.missing.items()]
    return Table.of(COLUMNS, comparison.rows, title=comparison.title, notes=notes)


def report_markdown(report: Report) -> str:
    """Return a whole run as Markdown."""
    parts = [f"`{report.command}`", _describe(report.machine)]
    for topic, comparisons in report.topics.items():
        parts.append(f"### {topic}")
        for table in map(to_table, comparisons):
            body = to_markdown(replace(table, title="", notes=()), aligned=False)
            parts += [f"**{table.title}**", body, *table.notes]
    parts += [f"### {topic}\n\nNot here: {why}" for topic, why in report.absent.items()]
    return "\n\n".join(parts) + "\n"


def write_report(folder: Path, report: Report) -> None:
    """Write ``speed.md``, and ``speed.json`` with every round.

    Raises:
        WriteError: They cannot be written.
    """
    data = {
        "schema": SCHEMA_VERSION,
        "command": report.command,
        "machine": asdict(report.machine),
        "topics": {topic: [*map(_to_json, tables)] for topic, tables in report.topics.items()},
        "absent": report.absent,
    }
    write_json(folder / "speed.json", data)
    with atomic_file(folder / "speed.md") as temporary:
        temporary.write_text(report_markdown(report), encoding="utf-8")


def _to_json(comparison: Comparison) -> dict[str, Any]:
    medians = {row.name: {"seconds": row.median, "ratio": row.ratio} for row in comparison.rows}
    return asdict(comparison) | {"medians": medians}


def duration(seconds: float) -> str:
    """Return a duration with three significant digits in a fitting unit.

    >>> duration(0.01234), duration(1.5), duration(4.2e-5)
    ('12.3 ms', '1.50 s', '42.0 µs')
    """
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    value = seconds * factor
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def _describe(machine: Machine) -> str:
    system = machine.description
    return (
        f"On {system['device']}: {system['processor']}, {system['cores']} cores, "
        f"{system['threads']} threads, {system['system']}. Measured: matrix products "
        f"{machine.fp32 / 1e9:,.0f} GFLOP/s in fp32 and {machine.bf16 / 1e9:,.0f} in bf16, copies "
        f"{machine.bandwidth / 1e9:.1f} GB/s. Medians of interleaved rounds, each candidate in "
        "its own process; spread is lowest to highest; “times ours” is the median of the "
        "rounds' ratios to the first row; memory is the most that a process held beyond what it "
        "held before."
    )
