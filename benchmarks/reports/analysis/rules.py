"""The rules that decide a claim of the paper from the tests on one data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.reports.analysis import paper
from benchmarks.reports.analysis.correlation import Correlation, correlations
from benchmarks.reports.analysis.paired import RowTest, paired_tests
from benchmarks.reports.dataset_results import DatasetResults, Values
from probseg.metrics.paired import LEVEL, Comparison, compare
from probseg.plots import Curve, resample
from probseg.reports import tables

MARGIN = 0.05  # of the mean: priors that differ by less score alike
EARLY = 25  # of 100 parts of the training
WARM_UP = 5
ALWAYS = 0.95  # of the time


@dataclass(frozen=True)
class Evidence:
    """The results on one data set with all their tests and correlations."""

    results: DatasetResults
    tests: Sequence[RowTest]
    correlations: Sequence[Correlation]

    @classmethod
    def of(cls, results: DatasetResults) -> Evidence:
        """Compute every test and correlation of results on one data set."""
        return cls(results, paired_tests(results), correlations(results))

    @property
    def listed(self) -> list[Correlation]:
        """The correlations that a report lists."""
        return [one for one in self.correlations if one.shown]

    def test(self, row: str, rival: str, metric: str) -> RowTest | None:
        """Return the test of two rows in a metric, whichever of them is its first."""
        tests = (
            t for t in self.tests if t.metric == metric and {t.first, t.second} == {row, rival}
        )
        return next(tests, None)


class Judgement(NamedTuple):
    """Whether a claim holds on one data set, or None where it cannot say, and why."""

    holds: bool | None
    why: str


def is_best(evidence: Evidence, row: str, *, rivals: Sequence[str], metric: str) -> Judgement:
    """Judge whether a row is better than every rival: the interval excludes 0, Holm's p < 0.05.

    In the Gini index, of which the paper takes the lower for the better, whether it is lower.
    """
    tests = [evidence.test(row, rival, metric) for rival in rivals]
    defined = [test for test in tests if test is not None]
    if len(defined) < len(rivals):
        return Judgement(None, f"{paper.metric_name(metric)} has no values to compare.")
    holds = all(_ahead(test) == row for test in defined)
    return Judgement(holds, " ".join(map(_describe, defined)))


def _ahead(test: RowTest) -> str | None:
    return test.lower if test.metric == "gini" else test.better


def _describe(test: RowTest) -> str:
    one, other = paper.model_name(test.first), paper.model_name(test.second)
    name = paper.metric_name(test.metric)
    scores = f"{one} has {signed(test.first_mean)}, {other} {signed(test.second_mean)}"
    difference = f"difference {differs(test, p=test.adjusted)}"
    ahead, is_so = _ahead(test), "is lower" if test.metric == "gini" else "is better"
    if ahead is None:
        return f"{name}: {scores}; no difference can be told ({difference})."
    return f"{name}: {scores}; {paper.model_name(ahead)} {is_so} ({difference})."


def is_spread(evidence: Evidence, row: str, *, more: bool) -> Judgement:
    """Judge whether samples differ more (or less) than annotators do: the interval excludes 0."""
    pair = evidence.results.paired((row, "diversity"), (row, "annotator-diversity"))
    if pair is None:
        return Judgement(None, "Diversity has no values to compare.")
    test = compare(pair.first, pair.second, pair.groups)
    holds = test.p < LEVEL and (test.low > 0 if more else test.high < 0)
    samples, annotators = signed(test.first_mean), signed(test.second_mean)
    name, difference = paper.model_name(row), differs(test, p=test.p)
    scores = f"samples differ by {samples}, annotators by {annotators}"
    return Judgement(holds, f"The {name}'s {scores} (difference {difference}).")


def is_discardable(evidence: Evidence, row: str, *, metric: str = "w-iou") -> Judgement:
    """Judge whether the base prior surely costs less than 5 % more than the projected one."""
    answer = row, metric
    pair = evidence.results.paired(answer, answer, variants=("base", "projected"))
    if pair is None:
        return Judgement(None, "The projected prior was not sampled.")
    test = compare(pair.first, pair.second, pair.groups)
    margin = MARGIN * test.second_mean
    base, projected = signed(test.first_mean), signed(test.second_mean)
    scores = f"{paper.metric_name(metric)} is {base} from the base prior and {projected}"
    limit = f"{interval(test.low, test.high)}, allowed are {signed(margin)}"
    why = f"{scores} from the projected one ({signed(test.difference)}, {limit})."
    return Judgement(test.high < margin, why)


def is_correlated(evidence: Evidence, *, metric: str = "w-iou") -> Judgement:
    """Judge whether the Gini index and Ŵ rise together over trainings of the paper's models."""
    rows = {*paper.ROWS}
    by_metric = {
        c.metric: c for c in evidence.correlations if c.over == "cells" and set(c.rows) == rows
    }
    if metric not in by_metric:
        return Judgement(None, "There are too few trainings for a correlation.")
    values = [
        f"{paper.metric_name(name)}: {signed(c.pearson.value, 2)} "
        f"({interval(c.pearson.low, c.pearson.high, digits=2)})"
        for name, c in by_metric.items()
    ]
    points = by_metric[metric].points
    few = "" if by_metric[metric].shown else ", too few for the report to list it"
    why = f"Pearson's correlation over {points} trainings{few}, {'; '.join(values)}."
    return Judgement(by_metric[metric].pearson.low > 0, why)


def rises_early(evidence: Evidence, row: str) -> Judgement:
    """Judge whether the index is higher after a quarter of the training than at first."""
    trainings = evidence.results.curves(row).values()
    rises = [float(resample(*curve)[EARLY] - curve[1][0]) for curve in trainings]
    name, changes = paper.model_name(row), _listed(rises)
    return _positive(rises, f"the {name}'s index changes by {changes} in the first quarter")


def is_more_volatile(evidence: Evidence, row: str, *, rival: str) -> Judgement:
    """Judge whether the index changes more a round than a rival's, over the same trainings."""
    own, rivals = (evidence.results.curves(one) for one in (row, rival))
    excess = [volatility(own[t]) - volatility(rivals[t]) for t in sorted({*own} & {*rivals})]
    name, other = paper.model_name(row), paper.model_name(rival)
    moves = f"the {name}'s index moves by {_listed(excess, 4)} more a round than {other}'s"
    return _positive(excess, moves)


def volatility(curve: Curve) -> float:
    """Return the mean absolute change from one record to the next.

    >>> volatility(([0, 1, 2], [0.5, 0.25, 0.5]))
    0.25
    """
    return float(np.abs(np.diff(curve[1])).mean()) if len(curve[1]) > 1 else 0.0


def is_lower_throughout(evidence: Evidence, row: str, *, rival: str) -> Judgement:
    """Judge whether the mean curve is below the rival's for 95 % of the time after a warm-up."""
    own, rivals = (_mean_curve(evidence.results, one) for one in (row, rival))
    if own is None or rivals is None:
        return Judgement(None, "The training kept no curve of the index.")
    gap = (own - rivals)[WARM_UP:]
    share = float((gap[np.isfinite(gap)] < 0).mean())
    name, other = paper.model_name(row), paper.model_name(rival)
    why = f"The {name}'s index is below the {other}'s for {share:.0%} of the training."
    return Judgement(share >= ALWAYS, why)


def _mean_curve(results: DatasetResults, row: str) -> Values | None:
    resampled = [resample(*curve) for curve in results.curves(row).values()]
    return np.mean(resampled, axis=0) if resampled else None


def _positive(values: Sequence[float], description: str) -> Judgement:
    """Judge whether values, one a training, are positive by Student's interval of their mean."""
    if len(values) < 2:
        one = f"There is only one training to judge by: {description}."
        return Judgement(None, one if values else "The training kept no curve.")
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    limits = interval(mean - reach, mean + reach, digits=4)
    description = description[0].upper() + description[1:]
    return Judgement(mean - reach > 0, f"{description} (mean {signed(mean, 4)}, {limits}).")


def _listed(values: Sequence[float], digits: int = 3) -> str:
    return ", ".join(signed(value, digits) for value in values)


def interval(low: float, high: float, *, digits: int = 3) -> str:
    """Return a 95 % interval in words.

    >>> interval(-0.02, 0.004)
    '95 % interval −0.020 to 0.004'
    """
    limits = tables.interval(low, high, f".{digits}f")
    return "no interval" if limits.value is None else f"95 % interval {limits.text}"


def signed(value: float, digits: int = 3) -> str:
    """Return a number with a true minus sign, and none before zero."""
    return tables.number(value, f".{digits}f").text


def differs(comparison: Comparison, *, p: float) -> str:
    """Return difference, interval, p and effect size in words."""
    span = interval(comparison.low, comparison.high)
    effect = f"rank-biserial {signed(comparison.rank_biserial, 2)}"
    return f"{signed(comparison.difference)}, {span}, {chance(p)}, {effect}"


def chance(p: float) -> str:
    """Return p in words."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"
