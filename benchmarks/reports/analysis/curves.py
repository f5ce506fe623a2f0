"""Rules on the Gini index of the prior while a model trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis import words
from benchmarks.reports.analysis.evidence import Evidence, Judgement, interval, signed
from benchmarks.reports.analysis.experiments import Experiment, Fit, Values, fit
from probseg.plots import Curve, resample

EARLY = 25  # of 100 parts of the training
WARM_UP = 5
ALWAYS = 0.95  # of the time
ONE = "There is only one training to judge by: {}."


def gini_curve(result: Result) -> Curve | None:
    """Return steps, and the Gini index of the prior at each, if the model has a prior."""
    records = [r for r in result["history"] if r.get("prior/gini") is not None]
    if not records:
        return None
    return [r["step"] for r in records], [r["prior/gini"] for r in records]


def gini_panels(results: Iterable[Result]) -> dict[str, dict[str, list[Curve]]]:
    """Return data set to row to one curve a cell, of the rows whose prior has a Gini index."""
    panels: dict[str, dict[str, list[Curve]]] = {}
    for result in results:
        curve = gini_curve(result)
        if curve:
            panel = panels.setdefault(result["config"]["dataset"]["name"], {})
            panel.setdefault(result["config"]["row"], []).append(curve)
    return panels


def curves(experiment: Experiment, row: str) -> Mapping[Fit, Curve]:
    """Return fold and seed to the curve of one training."""
    found = {fit(cell): gini_curve(cell) for cell in experiment.rows.get(row, ())}
    return {which: curve for which, curve in found.items() if which and curve}


@dataclass(frozen=True)
class RisesEarly:
    """The index is higher after a quarter of the training than at its first record."""

    row: str

    def __call__(self, evidence: Evidence) -> Judgement:
        """Judge the rises of all trainings by Student's interval of their mean."""
        found = curves(evidence.experiment, self.row)
        rises = [float(resample(*curve)[EARLY] - curve[1][0]) for curve in found.values()]
        told = (
            f"the {words.model(self.row)}'s index changes by {_listed(rises)} in the first quarter"
        )
        return _positive(rises, told)


@dataclass(frozen=True)
class MoreVolatile:
    """The index changes more from round to round than a rival's, over the same folds and seeds."""

    row: str
    rival: str

    def __call__(self, evidence: Evidence) -> Judgement:
        """Judge the differences of all trainings by Student's interval of their mean."""
        mine, rivals = (curves(evidence.experiment, row) for row in (self.row, self.rival))
        shared = sorted(set(mine) & set(rivals))
        excess = [volatility(mine[which]) - volatility(rivals[which]) for which in shared]
        names = words.model(self.row), words.model(self.rival)
        told = (
            f"the {names[0]}'s index moves by {_listed(excess, 4)} more a round than {names[1]}'s"
        )
        return _positive(excess, told)


def volatility(curve: Curve) -> float:
    """Return the mean absolute change from one record to the next.

    >>> volatility(([0, 1, 2], [0.5, 0.25, 0.5]))
    0.25
    """
    return float(np.abs(np.diff(curve[1])).mean()) if len(curve[1]) > 1 else 0.0


@dataclass(frozen=True)
class LowerThroughout:
    """The mean curve lies below the rival's for 95 % of the time after a short warm-up."""

    row: str
    rival: str

    def __call__(self, evidence: Evidence) -> Judgement:
        """Judge the mean curves over folds and seeds."""
        mine, rivals = (_mean_curve(evidence.experiment, row) for row in (self.row, self.rival))
        if mine is None or rivals is None:
            return Judgement(None, "The training kept no curve of the index.")
        gap = (mine - rivals)[WARM_UP:]
        share = float((gap[np.isfinite(gap)] < 0).mean())
        names = words.model(self.row), words.model(self.rival)
        why = f"The {names[0]}'s index is below the {names[1]}'s for {share:.0%} of the training."
        return Judgement(share >= ALWAYS, why)


def _mean_curve(experiment: Experiment, row: str) -> Values | None:
    found = [resample(*curve) for curve in curves(experiment, row).values()]
    return np.mean(found, axis=0) if found else None


def _positive(values: Sequence[float], told: str) -> Judgement:
    if len(values) < 2:
        return Judgement(None, ONE.format(told) if values else "The training kept no curve.")
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    span = interval(mean - reach, mean + reach, digits=4)
    return Judgement(
        mean - reach > 0, f"{told[0].upper()}{told[1:]} (mean {signed(mean, 4)}, {span})."
    )


def _listed(values: Sequence[float], digits: int = 3) -> str:
    return ", ".join(signed(value, digits) for value in values)
