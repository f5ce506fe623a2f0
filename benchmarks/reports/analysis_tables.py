"""The tables of the analysis: paired tests, correlations, the paper's tables, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from operator import attrgetter

from benchmarks.reports.analysis import Analysis
from benchmarks.reports.analysis.bootstrap import Coefficient
from benchmarks.reports.analysis.claims import Outcome, Verdict
from benchmarks.reports.analysis.correlation import Correlation
from benchmarks.reports.analysis.paired import PairedTest
from benchmarks.reports.analysis.paper import dataset_name, metric_name
from benchmarks.reports.analysis.rules import Evidence
from benchmarks.tables import (
    Column,
    Table,
    TableCell,
    attributes,
    interval,
    number,
    to_markdown,
)

HEADINGS: Mapping[Outcome, str] = {
    "reproduced": "Reproduced",
    "not reproduced": "Not reproduced",
    "not tested": "Not tested, though run in another setting",
}
TESTS_CAPTION = (
    "Paired tests over the test images: mean difference first − second, its bootstrap interval "
    "over patients, matched-pairs rank-biserial correlation, Wilcoxon's p. Bold is better, "
    "where interval and adjusted p agree."
)


def _side(test: PairedTest, name: str) -> TableCell:
    row = str(getattr(test, name))
    return TableCell(row, row, "better" if test.better == row else "")


def _coefficient(coefficient: Coefficient) -> TableCell:
    limits = interval(coefficient.low, coefficient.high, ".2f").text
    value = number(coefficient.value, ".2f")
    return TableCell(f"{value.text} ({limits})", value.value)


TEST_COLUMNS: Sequence[Column[PairedTest]] = (
    Column("metric", lambda test: metric_name(test.metric), number=False),
    Column("first", partial(_side, name="first"), number=False),
    Column("second", partial(_side, name="second"), number=False),
    Column("difference", lambda test: number(test.difference)),
    Column("95 % interval", lambda test: interval(test.low, test.high)),
    Column("effect", lambda test: number(test.rank_biserial, ".2f")),
    Column("p", lambda test: TableCell(f"{test.p:.2g}", test.p)),
    Column("p, Holm", lambda test: TableCell(f"{test.adjusted:.2g}", test.adjusted)),
)
CORRELATION_COLUMNS: Sequence[Column[Correlation]] = (
    Column("metric", lambda one: metric_name(one.metric), number=False),
    Column("over", lambda one: f"{one.over} of {', '.join(one.rows)}", number=False),
    Column("points", lambda one: one.points),
    Column("Pearson", lambda one: _coefficient(one.pearson)),
    Column("Spearman", lambda one: _coefficient(one.spearman)),
)


def statistics_markdown(analysis: Analysis) -> str:
    """Return tests and correlations as Markdown, one section a data set."""
    return "\n\n".join("\n\n".join(_section(one)) for one in analysis.evidence) + "\n"


def _section(evidence: Evidence) -> Iterator[str]:
    results = evidence.results
    yield f"## {dataset_name(results.dataset)}, profile {results.profile}"
    if evidence.tests:
        tests = Table.of(TEST_COLUMNS, evidence.tests, title="Paired tests", caption=TESTS_CAPTION)
        yield to_markdown(tests, level=3, aligned=False)
    if evidence.correlations:
        correlations = Table.of(
            CORRELATION_COLUMNS, evidence.correlations, title="Gini index and Ŵ"
        )
        yield to_markdown(correlations, level=3, aligned=False)


def tests_values(analysis: Analysis) -> Table:
    """Return every paired test at full precision, for CSV."""
    first = ("profile", "dataset", "metric", "first", "second")
    others = [field.name for field in fields(PairedTest) if field.name not in first]
    return Table.of(
        attributes((*first, *others)), [test for one in analysis.evidence for test in one.tests]
    )


def correlations_values(analysis: Analysis) -> Table:
    """Return every correlation at full precision, for CSV."""
    columns = [
        *attributes(("profile", "dataset", "metric", "over")),
        Column("rows", lambda one: " ".join(one.rows)),
        *attributes(("points",)),
        *(
            Column(f"{kind}{suffix}", attrgetter(f"{kind}.{part}"))
            for kind in ("pearson", "spearman")
            for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        ),
    ]
    return Table.of(columns, [c for one in analysis.evidence for c in one.correlations])


def verdicts_values(verdicts: Iterable[Verdict]) -> Table:
    """Return one line a claim, for CSV."""
    return Table.of(attributes(field.name for field in fields(Verdict)), verdicts)


def verdicts_markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts by outcome; claims on data sets that were not run are only counted."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    parts = [
        "## Verdicts on the paper's claims",
        ", ".join(f"{counts[outcome]} {outcome}" for outcome in HEADINGS) + ".",
    ]
    tested = [v for v in verdicts if not v.why.startswith("No results")]
    for outcome, heading in HEADINGS.items():
        items = [_item(verdict) for verdict in tested if verdict.outcome == outcome]
        parts += [f"### {heading}", "\n".join(items)] if items else []
    reasons = Counter(verdict.why for verdict in verdicts if verdict.why.startswith("No results"))
    missing = [f"- {why} Claims not tested: {count}." for why, count in reasons.items()]
    parts += ["### Not tested", "\n".join(missing)] if missing else []
    return "\n\n".join(parts) + "\n"


def _item(verdict: Verdict) -> str:
    source = f"{dataset_name(verdict.dataset)}, {verdict.source}"
    return f"- **{verdict.claim}** ({source}). {verdict.why}"
