"""Writing of a report: every table, figure and page of a run, into one folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from pathlib import Path

from benchmarks.reports.analysis import Analysis, analyse
from benchmarks.reports.analysis.claims import Verdict, verdicts_markdown
from benchmarks.reports.analysis.correlation import CORRELATION_COLUMNS
from benchmarks.reports.analysis.paired import TEST_COLUMNS, RowTest
from benchmarks.reports.analysis.paper import dataset_name
from benchmarks.reports.analysis.paper_tables import paper_csv, paper_table
from benchmarks.reports.analysis.rules import Evidence
from benchmarks.reports.figures import write_figures
from benchmarks.reports.html.report_page import write_report
from benchmarks.reports.results_table import results_table, summarise, values_csv
from benchmarks.reports.runs import RunResults, write_record
from probseg.metrics.paired import Comparison
from probseg.reports.tables import Table, to_csv, to_latex, to_markdown
from probseg.utils.atomic_files import atomic_file

TESTS_CAPTION = (
    "Paired tests over the test images: mean difference first − second, its bootstrap interval "
    "over patients, matched-pairs rank-biserial correlation, Wilcoxon's p. Bold is better, "
    "where interval and adjusted p agree."
)
# The columns of files: attributes of the records.
_VERDICT = [field.name for field in fields(Verdict)]
_TEST = (
    *("profile", "dataset", "metric", "first", "second"),
    *(field.name for field in fields(Comparison)),
    *("cells", "adjusted"),
)


def write(run: RunResults, out: Path, *, folder: Path | None = None) -> list[Table]:
    """Write every table and figure of a run of one profile, and return the tables of results.

    The pictures of its cells lie in ``folder``; by default in ``out``, which then gets the record
    of the run as well.

    Raises:
        WriteError: The disk is full or read-only.
    """
    if folder is None:
        write_record(run, out)
    scores = summarise(run.results, competing=run.competing, notes=run.notes)
    tables = [results_table(one) for one in scores]
    analysis = analyse(run.results)
    texts = {"table.md": _markdown(tables), "table.csv": values_csv(scores)}
    for name, text in (texts | _analysis_texts(analysis)).items():
        with atomic_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_figures(run.results, out, folder=folder or out)
    write_report(run, tables, analysis, out, folder=folder or out)
    return tables


def _analysis_texts(analysis: Analysis) -> dict[str, str]:
    texts = {
        "paired-tests.csv": _csv(_TEST, chain.from_iterable(e.tests for e in analysis.evidence)),
        "correlations.csv": _correlations_csv(analysis),
        "statistics.md": "\n\n".join("\n\n".join(_section(e)) for e in analysis.evidence) + "\n",
    }
    if analysis.verdicts:
        texts["verdicts.md"] = verdicts_markdown(analysis.verdicts)
        texts["verdicts.csv"] = _csv(_VERDICT, analysis.verdicts)
    if analysis.paper:
        tables = [paper_table(table) for table in analysis.paper]
        needs = "% needs \\usepackage{booktabs,graphicx}\n"
        texts["paper-tables.md"] = _markdown(tables)
        texts["paper-tables.csv"] = paper_csv(analysis.paper)
        texts["paper-tables.tex"] = needs + "\n".join(map(to_latex, tables))
    return texts


def _csv(names: Sequence[str], records: Iterable[Verdict | RowTest]) -> str:
    return to_csv(names, map(attrgetter(*names), records))


def _correlations_csv(analysis: Analysis) -> str:
    names = ("profile", "dataset", "metric", "over", "rows", "points")
    kinds = [f"{kind}{end}" for kind in ("pearson", "spearman") for end in ("", "_low", "_high")]
    lines = []
    for c in chain.from_iterable(one.listed for one in analysis.evidence):
        naming = c.profile, c.dataset, c.metric, c.over, " ".join(c.rows), c.points
        lines.append((*naming, *c.pearson, *c.spearman))
    return to_csv((*names, *kinds), lines)


def _section(evidence: Evidence) -> Iterator[str]:
    """Return the tests and correlations on one data set, as Markdown."""
    results = evidence.results
    yield f"## {dataset_name(results.dataset)}, profile {results.profile}"
    tests = Table.of(TEST_COLUMNS, evidence.tests, title="Paired tests", caption=TESTS_CAPTION)
    correlations = Table.of(CORRELATION_COLUMNS, evidence.listed, title="Gini index and Ŵ")
    yield from (to_markdown(t, level=3, aligned=False) for t in (tests, correlations) if t.rows)


def _markdown(tables: list[Table]) -> str:
    return "\n\n".join(map(to_markdown, tables)) + "\n"
