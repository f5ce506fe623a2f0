"""Writing of a report: every table, figure and page of a run, into one folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.reports.analysis import Analysis, analyse
from benchmarks.reports.analysis.paper_tables import paper_table, paper_values
from benchmarks.reports.analysis_tables import (
    correlations_values,
    statistics_markdown,
    tests_values,
    verdicts_markdown,
    verdicts_values,
)
from benchmarks.reports.figures import write_figures
from benchmarks.reports.html.report_page import write_report
from benchmarks.reports.results_table import results_table, summarise, values_table
from benchmarks.reports.runs import Run, write_record
from benchmarks.tables import Table, to_csv, to_latex, to_markdown
from probseg.utils.atomic_files import atomic_file


def write(run: Run, out: Path, *, folder: Path | None = None) -> list[Table]:
    """Write every table and figure of a run of one profile, and return the tables of results.

    Args:
        run: What to report.
        out: Folder to write into.
        folder: Of the run, where the pictures of its cells lie; by default ``out``, which then gets
            the record of the run as well.

    Raises:
        WriteError: The disk is full or read-only.
    """
    if folder is None:
        write_record(run, out)
    scores = summarise(run.results, competing=run.competing, notes=run.notes)
    tables = [results_table(one) for one in scores]
    analysis = analyse(run.results)
    texts = {"table.md": _markdown(tables), "table.csv": to_csv(values_table(scores))}
    for name, text in (texts | _analysis_texts(analysis)).items():
        with atomic_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_figures(run.results, out, folder=folder or out)
    write_report(run, tables, analysis, out, folder=folder or out)
    return tables


def _analysis_texts(analysis: Analysis) -> dict[str, str]:
    texts = {
        "verdicts.md": verdicts_markdown(analysis.verdicts),
        "verdicts.csv": to_csv(verdicts_values(analysis.verdicts)),
        "paired-tests.csv": to_csv(tests_values(analysis)),
        "correlations.csv": to_csv(correlations_values(analysis)),
        "statistics.md": statistics_markdown(analysis),
    }
    if analysis.paper:
        tables = [paper_table(table) for table in analysis.paper]
        needs = "% needs \\usepackage{booktabs,graphicx}\n"
        texts["paper-tables.md"] = _markdown(tables)
        texts["paper-tables.csv"] = to_csv(paper_values(analysis.paper))
        texts["paper-tables.tex"] = needs + "\n".join(map(to_latex, tables))
    return texts


def _markdown(tables: list[Table]) -> str:
    return "\n\n".join(map(to_markdown, tables)) + "\n"
