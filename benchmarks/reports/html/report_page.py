"""``report.html``: everything of a run that a person may want to see, in one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis import Analysis
from benchmarks.reports.analysis.answers import answer
from benchmarks.reports.analysis.claims import OUTCOMES, Verdict
from benchmarks.reports.analysis.correlation import CORRELATION_COLUMNS
from benchmarks.reports.analysis.paired import TEST_COLUMNS
from benchmarks.reports.analysis.paper_tables import PaperTable, paper_table
from benchmarks.reports.analysis.rules import Evidence
from benchmarks.reports.html.sample_browser import browser_images
from benchmarks.reports.html.training_charts import training_charts
from benchmarks.reports.runs import RunResults
from probseg.reports.page import render
from probseg.reports.published import published_numbers, published_table
from probseg.reports.tables import Table
from probseg.utils.atomic_files import atomic_file

FILE = "report.html"
Facts = dict[str, list[str]]
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    run: RunResults, tables: Iterable[Table], analysis: Analysis, out: Path, *, folder: Path
) -> Path:
    """Write the report of a run, whose pictures lie in ``folder``, and return its path.

    Raises:
        WriteError: The disk is full or read-only.
    """
    tables = [table.without_empty_columns() for table in tables]
    datasets = [table.title for table in tables]
    named = ", ".join(datasets) if len(datasets) < 4 else f"{len(datasets)} data sets"
    images = browser_images(run.results, folder)
    verdicts = [verdict for verdict in analysis.verdicts if verdict.dataset in datasets]
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    text = render(
        "report.html.j2",
        templates=_TEMPLATES,
        title=f"Benchmark of {named}",
        tables=tables,
        columns={c.heading: c.hint for t in tables for c in t.columns if c.number},
        answers=[answer(one, run.competing) for one in analysis.evidence],
        charts=training_charts(run.results),
        images=images,
        colours={row: own["colour"] for one in images for row, own in one["models"].items()},
        data=data_facts(run.results),
        run=run_facts(run.results),
        configs=configs(run.results),
        papers=[paper_table(_of_datasets(table, datasets)) for table in analysis.paper],
        tests=[_tests(one) for one in analysis.evidence if one.tests],
        correlations=[
            Table.of(CORRELATION_COLUMNS, one.listed, title=f"Correlations, {_title(one)}")
            for one in analysis.evidence
            if one.listed
        ],
        published=_published(datasets),
        counts={outcome: outcomes[outcome] for outcome in OUTCOMES},
        claims=_by_claim(verdicts),
    )
    with atomic_file(out / FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out / FILE


def _published(datasets: Collection[str]) -> list[Table]:
    """Return what others published on data sets, a table for each protocol."""
    numbers = [one for one in published_numbers() if one.data in datasets]
    return [published_table(name) for name in dict.fromkeys(one.protocol for one in numbers)]


def _title(evidence: Evidence) -> str:
    return f"{evidence.results.dataset}, profile {evidence.results.profile}"


def _tests(evidence: Evidence) -> Table:
    first = evidence.tests[0]
    caption = (
        f"{first.images} test images of {first.groups} patients or cases; folds and seeds are "
        "averaged image by image."
    )
    return Table.of(
        TEST_COLUMNS, evidence.tests, title=f"Paired tests, {_title(evidence)}", caption=caption
    )


def _of_datasets(table: PaperTable, datasets: Collection[str]) -> PaperTable:
    rows = {key: row for key, row in table.rows.items() if key[0] in datasets}
    return replace(table, rows=rows)


def _by_claim(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    by_claim: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_claim.setdefault(verdict.claim, []).append(verdict)
    return by_claim


def _images(result: Result) -> str:
    data = result.tested_on
    return f"{data.train} to train, {data.validation} to validate, {data.test} to test"


def _revision(result: Result) -> str:
    git = result.provenance.git
    changed = ", with changes that are not committed" if git.dirty else ""
    return f"{git.revision or 'unknown'}{changed}"


def _machine(result: Result) -> str:
    machine = result.provenance.machine
    units = {"cores": "cores", "threads": "threads of PyTorch"}
    counts = [f"{machine[key]} {unit}" for key, unit in units.items() if key in machine]
    return ", ".join(filter(None, [machine.get("processor"), *counts, machine.get("system")]))


# What is told of a result: a new fact is a new line here. Every distinct value is listed.
Readers = Mapping[str, Callable[[Result], object]]
_OF_DATA: Readers = {
    "data": lambda r: r.tested_on.provenance,
    "fingerprint": lambda r: r.tested_on.fingerprint[:16],
    "split": lambda r: r.tested_on.split,
    "images": _images,
}
_OF_CELLS: Readers = {
    "profile": lambda r: r.experiment.profile,
    "folds": lambda r: r.experiment.fold,
    "seeds": lambda r: r.experiment.seed,
}
_OF_CODE: Readers = {
    "revision": _revision,
    "device": lambda r: r.provenance.machine.get("device"),
    "machine": _machine,
    "versions": lambda r: ", ".join(map(" ".join, r.provenance.versions.items())),
}


def _facts(results: Iterable[Result], readers: Readers) -> Facts:
    results = list(results)
    values = {name: dict.fromkeys(map(read, results)) for name, read in readers.items()}
    return {name: [str(v) for v in own if v is not None] for name, own in values.items()}


def data_facts(results: Iterable[Result]) -> dict[str, Facts]:
    """Return data set to its origin, fingerprint, split and numbers of images."""
    by_dataset: dict[str, list[Result]] = {}
    for result in results:
        by_dataset.setdefault(result.experiment.dataset, []).append(result)
    return {name: _facts(own, _OF_DATA) for name, own in by_dataset.items()}


def run_facts(results: Sequence[Result]) -> Facts:
    """Return what was run, by which code and on which machine."""
    trained = sum(result.experiment.trained for result in results)
    times = sorted(result.timings.finished for result in results if result.timings.finished)
    return {
        **_facts(results, _OF_CELLS),
        "experiments": [f"{len(results)} experiments, {trained} of them trained"],
        "training": [duration(sum(r.timings.training_s or 0 for r in results))],
        "finished": list(dict.fromkeys((times[0], times[-1]))) if times else [],
        **_facts(results, _OF_CODE),
    }


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
        first.setdefault(f"{result.experiment.dataset} · {result.experiment.row}", result)
    return {
        row: json.dumps(result.experiment.to_json(), indent=2, ensure_ascii=False)
        for row, result in first.items()
    }
