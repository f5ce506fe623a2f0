"""``compare.html``: two runs side by side, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reports.comparison import Line, Run, Setting
from benchmarks.reports.html.findings import number
from benchmarks.reports.html.grids import MISSING, Field, Grid, Head
from benchmarks.reports.html.page import write_page
from benchmarks.reports.tables import Summary


def write_comparison(
    runs: tuple[Run, Run], lines: Sequence[Line], settings: Sequence[Setting], out: Path
) -> Path:
    """Write the page and return its path.

    Raises:
        WriteError: The disk is full or read-only.
    """
    experiments = dict.fromkeys((line.profile, line.dataset) for line in lines)
    write_page(
        out,
        "compare.html.j2",
        scripts=("theme.js", "tables.js"),
        title="Two runs side by side",
        runs=dict(zip("AB", runs, strict=True)),
        grids=[
            _grid([line for line in lines if (line.profile, line.dataset) == which])
            for which in experiments
        ],
        settings=_settings(settings) if settings else None,
        tally={
            outcome: sum(line.outcome == outcome for line in lines)
            for outcome in ("better", "worse")
        },
        total=len(lines),
    )
    return out


def _grid(lines: Sequence[Line]) -> Grid:
    first = lines[0]
    paired = any(line.paired for line in lines)
    return Grid(
        name=f"{first.dataset}, profile {first.profile}",
        caption="" if paired else "The runs scored other images, so that nothing can be tested.",
        heads=[
            *(Head(title, number=False) for title in ("model", "metric")),
            *map(Head, ("A", "B", "B − A")),
            Head("B is", number=False),
            *map(Head, ("95 % interval", "p (Holm)", "images")),
        ],
        rows=[_row(line) for line in lines],
    )


def _row(line: Line) -> list[Field]:
    first, second, change, outcome = texts(line)
    paired = line.paired
    form = f"+.{line.column.digits}f"
    ends = [number(end, form).text for end in (paired.low, paired.high)] if paired else [MISSING]
    return [
        *(Field(text, text) for text in (line.row, line.column.title)),
        Field(first, line.first.mean if line.first else None),
        Field(second, line.second.mean if line.second else None),
        Field(change, line.change),
        Field(outcome, outcome, line.outcome),
        Field(MISSING if MISSING in ends else " to ".join(ends), paired.low if paired else None),
        number(line.adjusted, ".2g"),
        Field(str(paired.images), paired.images) if paired else Field(MISSING),
    ]


def texts(line: Line) -> tuple[str, str, str, str]:
    """Return the first run's value, the second's, their difference, and what the second is."""
    digits = line.column.digits
    change = number(line.change, f"+.{digits}f").text
    outcome = line.outcome or ("undecided" if line.paired and line.column.best else MISSING)
    return _shown(line.first, digits), _shown(line.second, digits), change, outcome


def _shown(summary: Summary | None, digits: int) -> str:
    return summary.show(digits) if summary else MISSING


def _settings(settings: Sequence[Setting]) -> Grid:
    return Grid(
        name="Settings that differ",
        heads=[Head(title, number=False) for title in ("setting", "A", "B", "rows")],
        rows=[[Field(text, text) for text in _setting(one)] for one in settings],
    )


def _setting(one: Setting) -> tuple[str, str, str, str]:
    return one.name, one.first, one.second, "all" if one.everywhere else ", ".join(one.rows)
