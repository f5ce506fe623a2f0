"""The analysis of results: paired tests, correlations, the paper's tables, verdicts on its claims.

Everything here works on results as ``benchmarks.jobs.results`` reads them; nothing trains or draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis.claims import Verdict, verdicts
from benchmarks.reports.analysis.paper_tables import PaperTable, paper_tables
from benchmarks.reports.analysis.rules import Evidence
from benchmarks.reports.dataset_results import by_dataset


@dataclass(frozen=True)
class Analysis:
    """The analysis of some results."""

    evidence: Sequence[Evidence]  # one a profile and data set
    verdicts: Sequence[Verdict]
    paper: Sequence[PaperTable]


def analyse(results: Iterable[Result]) -> Analysis:
    """Analyse finished results of any number of data sets and profiles."""
    evidence = [Evidence.of(one) for one in by_dataset(results)]
    return Analysis(evidence, verdicts(evidence), paper_tables(e.results for e in evidence))
