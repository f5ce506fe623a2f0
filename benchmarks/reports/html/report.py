"""``report.html``: everything of a run that a person may want to see, in one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reports import tables
from benchmarks.reports.analysis.whole import Analysis, analyse
from benchmarks.reports.html import album, charts, findings, grids, origin
from benchmarks.reports.html.page import write_page

FILE = "report.html"
SCRIPTS = ("theme.js", "tables.js", "curves.js", "browser.js")


def write_report(
    finished: album.Finished,
    folder: Path,
    out: Path,
    *,
    competing: Iterable[str],
    notes: Mapping[str, str],
    analysis: Analysis | None = None,
) -> Path:
    """Write the report of finished cells, and return its path.

    Args:
        finished: Cells and their results, in the order of the table.
        folder: Of the run, where each cell's pictures lie.
        out: Where to write ``report.html``.
        competing: The rows among which the best value is marked.
        notes: What each row is.
        analysis: Of the results, if it was made already.

    Raises:
        WriteError: The disk is full or read-only.
    """
    results = [result for _, result in finished]
    made = tables.tabulate(results, competing=competing, notes=notes)
    write_page(
        out / FILE,
        "report.html.j2",
        scripts=SCRIPTS,
        title=_title([table.dataset for table in made]),
        grids=(shown := [grids.of_table(table) for table in made]),
        columns={head.title: head for grid in shown for head in grid.heads if head.hint},
        charts=charts.gini_charts(results),
        leaves=album.leaves(finished, folder),
        data=origin.data_facts(results),
        run=origin.run_facts(results),
        settings=origin.settings(results),
        **_findings(analysis or analyse(results)),
    )
    return out / FILE


def _title(datasets: Sequence[str]) -> str:
    named = ", ".join(datasets) if len(datasets) < 4 else f"{len(datasets)} data sets"
    return f"Benchmark of {named}"


def _findings(found: Analysis) -> dict[str, Any]:
    datasets = {experiment.dataset for experiment in found.experiments}
    return {
        **findings.of_verdicts(found.verdicts, datasets),
        "papers": [findings.of_paper(table) for table in found.paper],
        "tests": findings.of_tests(found.tests),
        "correlations": findings.of_correlations(found.correlations),
    }
