"""The answer to a run: which model is best in what, by how much, and from whom it can be told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from benchmarks.reports.analysis.paired import BEST, TESTED, RowTest
from benchmarks.reports.analysis.paper import metric_name
from benchmarks.reports.analysis.rules import Evidence, chance, interval, signed
from benchmarks.reports.dataset_results import DatasetResults, shared_trainings, training_of
from benchmarks.reports.results_table import (
    COLUMNS,
    Summary,
    annotators_diversity,
    summaries,
)

# What scores answers: the Gini index describes a prior.
MEASURES = tuple(metric for metric in TESTED if metric != "gini")
_DIGITS = {column.name: column.digits for column in COLUMNS} | {"ncc": 3}


@dataclass(frozen=True)
class Finding:
    """The row with the best mean of one metric, and its rivals."""

    metric: str  # in words
    best: str
    value: str
    next: str  # the second best
    next_value: str
    lead: str  # over the next, on the images of both; empty where they share none
    beaten: Sequence[str]  # the rivals from whom the best can be told
    alike: Sequence[str]  # those from whom it cannot
    ahead: Sequence[bool]  # whether it is better than the next, one a training


@dataclass(frozen=True)
class Answer:
    """What the results on one data set say."""

    dataset: str
    rows: Sequence[str]  # that are compared
    findings: Sequence[Finding]
    images: int
    groups: int
    trainings: Sequence[int]  # of the row with the fewest, and of that with the most
    limited: bool  # whether every training met its limit of steps
    diversity: Mapping[str, str]  # of the samples of each row
    annotators_diversity: str  # of all annotators, near which that is good; empty for a single one
    annotators: int | None  # of an image, at most; None is unknown
    scale: Mapping[str, str]  # what the rows that are not compared have, for scale
    scaled: str  # in which metric, in words

    @property
    def sure(self) -> dict[str, list[str]]:
        """The rows that are better than every other, and in which metrics."""
        found: dict[str, list[str]] = {}
        for finding in self.findings:
            if not finding.alike:
                found.setdefault(finding.best, []).append(finding.metric)
        return found

    @property
    def unsure(self) -> list[str]:
        """The metrics in which no row is better than every other."""
        return [finding.metric for finding in self.findings if finding.alike]


def answer(evidence: Evidence, competing: Collection[str]) -> Answer:
    """Return who is best of the competing rows, or of all that were trained if one competes."""
    results = evidence.results
    rows = [row for row in results.trained if row in competing]
    rows = rows if len(rows) > 1 else list(results.trained)
    findings = [_finding(evidence, rows, metric) for metric in MEASURES]
    trained = [result for row in rows for result in results.rows[row]]
    counts = sorted(len(results.rows[row]) for row in rows)
    images = next(iter(results.rows.values()))[0].images
    others = _scores(results, [row for row in results.rows if row not in rows], MEASURES[0])
    diversity = _scores(results, rows, "diversity")
    return Answer(
        dataset=results.dataset,
        rows=rows,
        findings=[finding for finding in findings if finding],
        images=len(images.index),
        groups=len(set(images.group)),
        trainings=[counts[0], counts[-1]] if counts else [],
        limited=not any(one.training and one.training.stopped_early for one in trained),
        diversity={row: _shown(summary.mean, "diversity") for row, summary in diversity.items()},
        annotators_diversity=_annotators_diversity(results),
        annotators=next(iter(results.rows.values()))[0].tested_on.annotators,
        scale={row: _shown(summary.mean, MEASURES[0]) for row, summary in others.items()},
        scaled=metric_name(MEASURES[0]),
    )


def _annotators_diversity(results: DatasetResults) -> str:
    value = annotators_diversity(chain.from_iterable(results.rows.values()))
    return "" if value is None else _shown(value, "diversity")


def _finding(evidence: Evidence, rows: Iterable[str], metric: str) -> Finding | None:
    scores = _scores(evidence.results, rows, metric)
    if len(scores) < 2:
        return None
    best, *rivals = sorted(scores, key=lambda row: _sign(metric) * scores[row].mean)
    tests = {rival: evidence.test(best, rival, metric) for rival in rivals}
    beaten = [rival for rival, test in tests.items() if test and test.better == best]
    test = tests[rivals[0]]
    return Finding(
        metric=metric_name(metric),
        best=best,
        value=_shown(scores[best].mean, metric),
        next=rivals[0],
        next_value=_shown(scores[rivals[0]].mean, metric),
        lead=_lead(test, best) if test else "",
        beaten=beaten,
        alike=[rival for rival in rivals if rival not in beaten],
        ahead=_ahead(evidence.results, best, rivals[0], metric),
    )


def _scores(results: DatasetResults, rows: Iterable[str], metric: str) -> dict[str, Summary]:
    found = {row: summaries(results.rows[row]).get(metric) for row in rows}
    return {row: summary for row, summary in found.items() if summary}


def _sign(metric: str) -> int:
    return -1 if BEST[metric] == "high" else 1


def _shown(value: float, metric: str) -> str:
    return signed(value, _DIGITS[metric])


def _lead(test: RowTest, best: str) -> str:
    """Return by how much the best row is better than the other, with the interval."""
    sign = _sign(test.metric) * (1 if test.first == best else -1)
    digits = _DIGITS[test.metric]
    other = abs(test.second_mean if test.first == best else test.first_mean)
    lead = -sign * test.difference
    share = f" or {100 * lead / other:.0f} %" if other else ""
    limits = interval(*sorted((-sign * test.low, -sign * test.high)), digits=digits)
    return f"{signed(lead, digits)}{share} ({limits}, {chance(test.adjusted)})"


def _ahead(results: DatasetResults, best: str, other: str, metric: str) -> list[bool]:
    """Say of each training that both rows have whether the best is better in it."""
    means = [
        {training_of(result): result.means["base"].get(metric) for result in row}
        for row in shared_trainings(results.rows[best], results.rows[other])
    ]
    pairs = [(value, means[1][training]) for training, value in means[0].items()]
    defined = [(one, two) for one, two in pairs if one is not None and two is not None]
    return [_sign(metric) * (one - two) < 0 for one, two in defined]
