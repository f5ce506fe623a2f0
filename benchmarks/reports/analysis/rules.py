"""Rules that decide a claim from an experiment's tests: who is better, wider, alike, correlated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.reports.analysis import words
from benchmarks.reports.analysis.evidence import Evidence, Judgement, differs, interval, signed
from benchmarks.reports.analysis.paired import LEVEL, PairedTest, of_pair

MARGIN = 0.05  # of the mean: two priors nearer than that answer alike


@dataclass(frozen=True)
class Best:
    """A row is better than each rival: its interval excludes 0 and Holm's p is below 0.05."""

    row: str
    rivals: Sequence[str]
    metric: str

    def __call__(self, evidence: Evidence) -> Judgement:
        """Judge every rival; one that is not beaten refutes the claim."""
        tests = [evidence.test(self.row, rival, self.metric) for rival in self.rivals]
        known = [test for test in tests if test is not None]
        if len(known) < len(self.rivals):
            return Judgement(None, f"{words.metric(self.metric)} has no values to compare.")
        holds = all(test.better == self.row for test in known)
        return Judgement(holds, " ".join(map(_told, known)))


def _told(test: PairedTest) -> str:
    one, other = words.model(test.first), words.model(test.second)
    name = words.metric(test.metric)
    scores = f"{one} has {signed(test.first_mean)}, {other} {signed(test.second_mean)}"
    found = f"difference {differs(test, p=test.adjusted)}"
    if test.better is None:
        return f"{name}: {scores}; no difference can be told ({found})."
    return f"{name}: {scores}; {words.model(test.better)} is better ({found})."


@dataclass(frozen=True)
class Spread:
    """A row's samples differ less, or more, than the annotators do: the interval excludes 0."""

    row: str
    more: bool

    def __call__(self, evidence: Evidence) -> Judgement:
        """Compare the samples' diversity with the annotators' on the same images."""
        pair = evidence.experiment.paired(
            (self.row, "diversity"), (self.row, "annotator-diversity")
        )
        if pair is None:
            return Judgement(None, "Diversity has no values to compare.")
        test = of_pair(pair)
        holds = test.p < LEVEL and (test.low > 0 if self.more else test.high < 0)
        samples, annotators = signed(test.first_mean), signed(test.second_mean)
        told = f"samples differ by {samples}, annotators by {annotators}"
        why = f"The {words.model(self.row)}'s {told} (difference {differs(test, p=test.p)})."
        return Judgement(holds, why)


@dataclass(frozen=True)
class Discardable:
    """Samples of the base prior cost at most 5 % more than those of the projected prior."""

    row: str
    metric: str = "w-iou"

    def __call__(self, evidence: Evidence) -> Judgement:
        """Compare both priors on the same images; the whole interval must lie below the margin."""
        answer = self.row, self.metric
        pair = evidence.experiment.paired(answer, answer, variants=("base", "projected"))
        if pair is None:
            return Judgement(None, "The projected prior was not sampled.")
        test = of_pair(pair)
        margin = MARGIN * test.second_mean
        base, projected = signed(test.first_mean), signed(test.second_mean)
        told = f"{words.metric(self.metric)} is {base} from the base prior and {projected}"
        limit = f"{interval(test.low, test.high)}, allowed are {signed(margin)}"
        why = f"{told} from the projected one ({signed(test.difference)}, {limit})."
        return Judgement(test.high < margin, why)


@dataclass(frozen=True)
class Correlated:
    """The Gini index and Ŵ rise together over models, folds and seeds: the interval excludes 0."""

    metric: str = "w-iou"

    def __call__(self, evidence: Evidence) -> Judgement:
        """Judge Pearson's correlation over the cells of the paper's models."""
        rows = set(words.PAPER_ROWS)
        found = {
            c.metric: c for c in evidence.correlations if c.over == "cells" and set(c.rows) == rows
        }
        if self.metric not in found:
            return Judgement(None, "There are too few trainings for a correlation.")
        told = [
            f"{words.metric(name)}: {signed(c.pearson.value, 2)} "
            f"({interval(c.pearson.low, c.pearson.high, digits=2)})"
            for name, c in found.items()
        ]
        points = found[self.metric].points
        why = f"Pearson's correlation over {points} trainings, {'; '.join(told)}."
        return Judgement(found[self.metric].pearson.low > 0, why)
