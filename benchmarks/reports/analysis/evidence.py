"""Evidence: an experiment with all its tests, and how two rows compare in it, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.reports.analysis.correlation import Correlation, correlations
from benchmarks.reports.analysis.experiments import Experiment
from benchmarks.reports.analysis.paired import Comparison, PairedTest, paired_tests


@dataclass(frozen=True)
class Evidence:
    """What one experiment has to say."""

    experiment: Experiment
    tests: Sequence[PairedTest]
    correlations: Sequence[Correlation]

    @classmethod
    def of(cls, experiment: Experiment) -> Evidence:
        """Make every test of an experiment."""
        return cls(experiment, paired_tests(experiment), correlations(experiment))

    def test(self, row: str, rival: str, metric: str) -> PairedTest | None:
        """Return the test of two rows, either of which may be its first."""
        for test in self.tests:
            if test.metric == metric and {test.first, test.second} == {row, rival}:
                return test if test.first == row else test.swapped
        return None


class Judgement(NamedTuple):
    """Whether a claim holds in an experiment, or None where it cannot say, and why."""

    holds: bool | None
    why: str


def interval(low: float, high: float, *, digits: int = 3) -> str:
    """Return a 95 % interval in words.

    >>> interval(-0.02, 0.004)
    '95 % interval −0.020 to 0.004'
    """
    if math.isnan(low):
        return "no interval"
    return f"95 % interval {signed(low, digits)} to {signed(high, digits)}"


def signed(value: float, digits: int = 3) -> str:
    """Return a number with a true minus sign, and no minus before zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def differs(comparison: Comparison, *, p: float) -> str:
    """Return difference, interval, p and effect size in words."""
    span = interval(comparison.low, comparison.high)
    chance = "p < 0.001" if p < 0.001 else f"p {p:.3f}"
    effect = f"rank-biserial {signed(comparison.rank_biserial, 2)}"
    return f"{signed(comparison.difference)}, {span}, {chance}, {effect}"
