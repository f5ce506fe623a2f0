"""Writing everything that a report has into one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.reports import figures, paper_text, statistics_text, stored, tables
from benchmarks.reports.analysis.whole import Analysis, analyse
from benchmarks.reports.figures import Finished
from benchmarks.reports.html import write_report
from probseg.utils.atomic_files import atomic_file


def write(
    finished: Finished,
    out: Path,
    *,
    competing: Iterable[str],
    notes: Mapping[str, str],
    source: Path | None = None,
) -> list[tables.Table]:
    """Write every table and figure of finished cells of one profile, and return the tables.

    Args:
        finished: Cells and their results, in the order of the table.
        out: Folder for what is written.
        competing: The rows among which the best value is marked.
        notes: What each row is.
        source: Folder of the cells, where their pictures lie; by default ``out``.

    Raises:
        WriteError: The disk is full or read-only.
    """
    results = [result for _, result in finished]
    competing = list(competing)
    if source is None:
        stored.keep(finished, out, competing, notes)
    made = tables.tabulate(results, competing=competing, notes=notes)
    texts = {"table.md": tables.to_markdown(made), "table.csv": tables.to_csv(made)}
    analysis = analyse(results)
    for name, text in (texts | _analysis_texts(analysis)).items():
        _write_text(out / name, text)
    figures.write(finished, out, source=source or out)
    write_report(finished, source or out, out, competing=competing, notes=notes, analysis=analysis)
    return made


def _analysis_texts(analysis: Analysis) -> dict[str, str]:
    texts = {
        "verdicts.md": statistics_text.verdicts_markdown(analysis.verdicts),
        "verdicts.csv": statistics_text.verdicts_csv(analysis.verdicts),
        "paired-tests.csv": statistics_text.tests_csv(analysis.tests),
        "correlations.csv": statistics_text.correlations_csv(analysis.correlations),
        "statistics.md": statistics_text.to_markdown(analysis),
    }
    renderers: dict[str, Callable[..., str]] = {
        "md": paper_text.to_markdown,
        "csv": paper_text.to_csv,
        "tex": paper_text.to_latex,
    }
    if analysis.paper:
        texts |= {f"paper-tables.{kind}": make(analysis.paper) for kind, make in renderers.items()}
    return texts


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
