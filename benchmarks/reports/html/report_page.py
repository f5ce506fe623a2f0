"""``report.html``: everything of a run that a person may want to see, in one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis import Analysis
from benchmarks.reports.analysis.claims import OUTCOMES, Verdict
from benchmarks.reports.analysis.rules import Evidence
from benchmarks.reports.analysis_tables import correlations_table, paper_table, tests_table
from benchmarks.reports.html.gini_charts import gini_charts
from benchmarks.reports.html.rendering import write_page
from benchmarks.reports.html.sample_browser import browser_images
from benchmarks.reports.runs import Run
from benchmarks.tables import Table

FILE = "report.html"
SCRIPTS = ("theme.js", "tables.js", "curves.js", "browser.js")
Facts = dict[str, list[str]]


def write_report(
    run: Run, tables: Iterable[Table], analysis: Analysis, out: Path, *, folder: Path
) -> Path:
    """Write the report of a run, and return its path.

    Args:
        run: What was run.
        tables: One a data set.
        analysis: Of the run's results.
        out: Folder to write into.
        folder: Of the run, where each cell's pictures lie.

    Raises:
        WriteError: The disk is full or read-only.
    """
    tables = [table.without_empty_columns() for table in tables]
    datasets = [table.title for table in tables]
    named = ", ".join(datasets) if len(datasets) < 4 else f"{len(datasets)} data sets"
    write_page(
        out / FILE,
        "report.html.j2",
        scripts=SCRIPTS,
        title=f"Benchmark of {named}",
        tables=tables,
        columns={c.heading: c.hint for t in tables for c in t.columns if c.number},
        charts=gini_charts(run.results),
        images=browser_images(run.results, folder),
        data=data_facts(run.results),
        run=run_facts(run.results),
        configs=configs(run.results),
        papers=[paper_table(table) for table in analysis.paper],
        tests=[_tests(one) for one in analysis.evidence if one.tests],
        correlations=[
            correlations_table(one.correlations, title=_title(one))
            for one in analysis.evidence
            if one.correlations
        ],
        **verdicts_by_claim(analysis.verdicts, {e.results.dataset for e in analysis.evidence}),
    )
    return out / FILE


def _title(evidence: Evidence) -> str:
    return f"{evidence.results.dataset}, profile {evidence.results.profile}"


def _tests(evidence: Evidence) -> Table:
    first = evidence.tests[0]
    caption = (
        f"{first.images} test images of {first.groups} patients or cases; folds and seeds are "
        "averaged image by image."
    )
    return tests_table(evidence.tests, title=_title(evidence), caption=caption)


def verdicts_by_claim(verdicts: Iterable[Verdict], datasets: Container[str]) -> dict[str, Any]:
    """Return the number of verdicts by outcome, and the verdicts on each claim.

    Args:
        verdicts: On every claim and data set.
        datasets: Those that were run; claims on none of them come apart, as ``other_claims``.
    """
    by_claim: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_claim.setdefault(verdict.claim, []).append(verdict)
    ran = {claim for claim, own in by_claim.items() if any(v.dataset in datasets for v in own)}
    counts = Counter(verdict.outcome for own in by_claim.values() for verdict in own)
    return {
        "counts": {outcome: counts[outcome] for outcome in OUTCOMES},
        "claims": {claim: own for claim, own in by_claim.items() if claim in ran},
        "other_claims": {claim: own for claim, own in by_claim.items() if claim not in ran},
    }


def data_facts(results: Sequence[Result]) -> dict[str, Facts]:
    """Return data set to its origin, fingerprint, split and numbers of images."""
    by_dataset: dict[str, list[Result]] = {}
    for result in results:
        by_dataset.setdefault(result.cell.dataset, []).append(result)
    return {
        name: {
            "data": _distinct(own, lambda r: r.tested_on.provenance),
            "fingerprint": _distinct(own, lambda r: r.tested_on.fingerprint[:16]),
            "split": _distinct(own, lambda r: r.tested_on.split),
            "images": _distinct(own, _images),
        }
        for name, own in by_dataset.items()
    }


def _images(result: Result) -> str:
    data = result.tested_on
    return f"{data.train} to train, {data.validation} to validate, {data.test} to test"


def run_facts(results: Sequence[Result]) -> Facts:
    """Return what was run, by which code and on which machine; every distinct value is listed."""
    trained = [result for result in results if result.cell.trained]
    times = sorted(result.timings.finished for result in results if result.timings.finished)
    return {
        "profile": _distinct(results, lambda r: r.cell.profile),
        "folds": _distinct(trained, lambda r: r.cell.fold),
        "seeds": _distinct(trained, lambda r: r.cell.seed),
        "cells": [f"{len(results)} cells, {len(trained)} of them trained"],
        "training": [duration(sum(r.timings.training_s or 0 for r in results))],
        "finished": list(dict.fromkeys((times[0], times[-1]))) if times else [],
        "revision": _distinct(results, _revision),
        "device": _distinct(results, lambda r: r.provenance.machine.get("device")),
        "machine": _distinct(results, _machine),
        "versions": _distinct(results, _versions),
    }


def _distinct(results: Iterable[Result], value: Callable[[Result], object]) -> list[str]:
    return list(dict.fromkeys(str(value(result)) for result in results))


def _revision(result: Result) -> str:
    git = result.provenance.git
    changed = ", with changes that are not committed" if git.dirty else ""
    return f"{git.revision or 'unknown'}{changed}"


def _machine(result: Result) -> str:
    machine = result.provenance.machine
    units = {"cores": "cores", "threads": "threads of PyTorch"}
    counts = [f"{machine[key]} {unit}" for key, unit in units.items() if key in machine]
    return ", ".join(filter(None, [machine.get("processor"), *counts, machine.get("system")]))


def _versions(result: Result) -> str:
    versions = result.provenance.versions.items()
    return ", ".join(f"{package} {version}" for package, version in versions)


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(59), duration(3720)
    ('59 s', '1 h 2 min')
    """
    minutes, hours = round(seconds / 60), int(seconds // 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{hours} h {minutes - 60 * hours} min" if hours else f"{minutes} min"


def configs(results: Iterable[Result]) -> dict[str, str]:
    """Return data set and row to the config of its first cell, as JSON."""
    first: dict[str, Result] = {}
    for result in results:
        first.setdefault(f"{result.cell.dataset} · {result.cell.row}", result)
    return {
        row: json.dumps(result.cell.to_json(), indent=2, ensure_ascii=False)
        for row, result in first.items()
    }
