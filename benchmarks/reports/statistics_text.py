"""Verdicts, paired tests and correlations as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields

from benchmarks.reports.analysis import words
from benchmarks.reports.analysis.claims import Verdict
from benchmarks.reports.analysis.correlation import Coefficient, Correlation
from benchmarks.reports.analysis.evidence import signed
from benchmarks.reports.analysis.paired import PairedTest
from benchmarks.reports.analysis.whole import Analysis

HEADINGS = {
    "reproduced": "Reproduced",
    "not reproduced": "Not reproduced",
    "not tested": "Not tested, though run in another setting",
}
TEST_COLUMNS = (
    "metric",
    "first",
    "second",
    "difference",
    "95 % interval",
    "effect",
    "p",
    "p, Holm",
)
CORRELATION_COLUMNS = ("metric", "over", "points", "Pearson", "Spearman")


def verdicts_markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts by outcome; claims on data sets that were not run are only counted."""
    silent = [v for v in verdicts if v.why.startswith("No results")]
    told = [v for v in verdicts if v not in silent]
    parts = ["## Verdicts on the paper's claims", _summary(verdicts)]
    for outcome, heading in HEADINGS.items():
        found = [v for v in told if v.outcome == outcome]
        parts += [f"### {heading}", "\n".join(map(_item, found))] if found else []
    return "\n\n".join([*parts, *_silent(silent)]) + "\n"


def _summary(verdicts: Sequence[Verdict]) -> str:
    counts = {o: sum(v.outcome == o for v in verdicts) for o in HEADINGS}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + "."


def _item(verdict: Verdict) -> str:
    where = f"{words.dataset(verdict.dataset)}, {verdict.source}"
    return f"- **{verdict.claim}** ({where}). {verdict.why}"


def _silent(verdicts: Sequence[Verdict]) -> list[str]:
    reasons: dict[str, int] = {}
    for verdict in verdicts:
        reasons[verdict.why] = reasons.get(verdict.why, 0) + 1
    lines = (f"- {why} Claims not tested: {count}." for why, count in reasons.items())
    return ["### Not tested", "\n".join(lines)] if reasons else []


def verdicts_csv(verdicts: Iterable[Verdict]) -> str:
    """Return one line a claim."""
    return _csv([field.name for field in fields(Verdict)], map(asdict, verdicts))


def tests_csv(tests: Iterable[PairedTest]) -> str:
    """Return every paired test at full precision."""
    head = ("profile", "dataset", "metric", "first", "second")
    others = [field.name for field in fields(PairedTest) if field.name not in head]
    return _csv([*head, *others], map(asdict, tests))


def correlations_csv(correlations: Iterable[Correlation]) -> str:
    """Return every correlation at full precision."""
    lines = [_flat(correlation) for correlation in correlations]
    coefficients = [f"{name}{part}" for name in ("pearson", "spearman") for part in _PARTS]
    head = ["profile", "dataset", "metric", "over", "rows", "points", *coefficients]
    return _csv(head, lines)


_PARTS = {"": "value", "_low": "low", "_high": "high"}


def _flat(correlation: Correlation) -> dict[str, object]:
    plain = {f.name: getattr(correlation, f.name) for f in fields(correlation)}
    for name in ("pearson", "spearman"):
        found = plain.pop(name)
        plain |= {f"{name}{part}": getattr(found, field) for part, field in _PARTS.items()}
    return {**plain, "rows": " ".join(correlation.rows)}


def _csv(head: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, head, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: _plain(value) for key, value in line.items()})
    return text.getvalue()


def _plain(value: object) -> object:
    return "" if isinstance(value, float) and math.isnan(value) else value


def to_markdown(analysis: Analysis) -> str:
    """Return tests and correlations as tables, one section an experiment."""
    sections = []
    for experiment in analysis.experiments:
        mine = experiment.profile, experiment.dataset
        tests = [t for t in analysis.tests if (t.profile, t.dataset) == mine]
        found = [c for c in analysis.correlations if (c.profile, c.dataset) == mine]
        title = f"## {words.dataset(experiment.dataset)}, profile {experiment.profile}"
        parts = [title, *_tests(tests), *_correlations(found)]
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections) + "\n"


def _tests(tests: Sequence[PairedTest]) -> list[str]:
    if not tests:
        return []
    lines = [
        (
            words.metric(t.metric),
            *(_bold(row, t.better == row) for row in (t.first, t.second)),
            signed(t.difference),
            _span(t.low, t.high),
            signed(t.rank_biserial, 2),
            f"{t.p:.2g}",
            f"{t.adjusted:.2g}",
        )
        for t in tests
    ]
    caption = (
        "Paired tests over the test images: mean difference first − second, its bootstrap interval "
        "over patients, matched-pairs rank-biserial correlation, Wilcoxon's p. Bold is better, "
        "where interval and adjusted p agree."
    )
    return ["### Paired tests", caption, _table(TEST_COLUMNS, lines)]


def _correlations(found: Sequence[Correlation]) -> list[str]:
    lines = [
        (
            words.metric(c.metric),
            f"{c.over} of {', '.join(c.rows)}",
            str(c.points),
            _coefficient(c.pearson),
            _coefficient(c.spearman),
        )
        for c in found
    ]
    if not lines:
        return []
    return ["### Gini index and Ŵ", _table(CORRELATION_COLUMNS, lines)]


def _coefficient(found: Coefficient) -> str:
    return f"{signed(found.value, 2)} ({_span(found.low, found.high, 2)})"


def _span(low: float, high: float, digits: int = 3) -> str:
    return "–" if math.isnan(low) else f"{signed(low, digits)} to {signed(high, digits)}"


def _bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes else text


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
