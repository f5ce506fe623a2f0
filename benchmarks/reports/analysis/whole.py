"""The whole analysis of some results, made once for every page that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis.claims import Verdict, verdicts
from benchmarks.reports.analysis.correlation import Correlation
from benchmarks.reports.analysis.evidence import Evidence
from benchmarks.reports.analysis.experiments import Experiment, experiments
from benchmarks.reports.analysis.paired import PairedTest
from benchmarks.reports.analysis.paper import PaperTable, paper_tables


@dataclass(frozen=True)
class Analysis:
    """Everything that results say."""

    experiments: Sequence[Experiment]
    verdicts: Sequence[Verdict]
    tests: Sequence[PairedTest]
    correlations: Sequence[Correlation]
    paper: Sequence[PaperTable]


def analyse(results: Iterable[Result]) -> Analysis:
    """Analyse finished results of any number of data sets and profiles."""
    found = experiments(results)
    evidence = [Evidence.of(experiment) for experiment in found]
    return Analysis(
        experiments=found,
        verdicts=verdicts(evidence),
        tests=[test for e in evidence for test in e.tests],
        correlations=[c for e in evidence for c in e.correlations],
        paper=paper_tables(found),
    )
