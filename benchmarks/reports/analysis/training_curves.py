"""The Gini index of the prior during training: its curves, and the rules on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from benchmarks.jobs.results import Result
from benchmarks.reports.analysis.paper import model_name
from benchmarks.reports.analysis.rules import Evidence, Judgement, interval, signed
from benchmarks.reports.dataset_results import (
    DatasetResults,
    Training,
    Values,
    training_of,
)
from probseg.plots import Curve, resample

EARLY = 25  # of 100 parts of the training
WARM_UP = 5
ALWAYS = 0.95  # of the time


def gini_curve(result: Result) -> Curve | None:
    """Return steps, and the Gini index of the prior at each, if the model has a prior."""
    pairs = [(record["step"], record.get("prior/gini")) for record in result.history]
    defined = [(step, gini) for step, gini in pairs if step is not None and gini is not None]
    return ([step for step, _ in defined], [gini for _, gini in defined]) if defined else None


def gini_panels(results: Iterable[Result]) -> dict[str, dict[str, list[Curve]]]:
    """Return data set to row to one curve a cell, of the rows whose prior has a Gini index."""
    panels: dict[str, dict[str, list[Curve]]] = {}
    for result in results:
        curve = gini_curve(result)
        if curve:
            panel = panels.setdefault(result.cell.dataset, {})
            panel.setdefault(result.cell.row, []).append(curve)
    return panels


def curves(results: DatasetResults, row: str) -> Mapping[Training, Curve]:
    """Return fold and seed to the curve of one training."""
    by_training = {training_of(r): gini_curve(r) for r in results.rows.get(row, ())}
    return {training: curve for training, curve in by_training.items() if training and curve}


def rises_early(evidence: Evidence, row: str) -> Judgement:
    """Judge whether the index is higher after a quarter of the training than at first."""
    trainings = curves(evidence.results, row).values()
    rises = [float(resample(*curve)[EARLY] - curve[1][0]) for curve in trainings]
    name, changes = model_name(row), _listed(rises)
    return _positive(rises, f"the {name}'s index changes by {changes} in the first quarter")


def is_more_volatile(evidence: Evidence, row: str, *, rival: str) -> Judgement:
    """Judge whether the index changes more a round than a rival's, over the same trainings."""
    own, rivals = (curves(evidence.results, one) for one in (row, rival))
    excess = [volatility(own[t]) - volatility(rivals[t]) for t in sorted({*own} & {*rivals})]
    name, other = model_name(row), model_name(rival)
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
    name, other = model_name(row), model_name(rival)
    why = f"The {name}'s index is below the {other}'s for {share:.0%} of the training."
    return Judgement(share >= ALWAYS, why)


def _mean_curve(results: DatasetResults, row: str) -> Values | None:
    resampled = [resample(*curve) for curve in curves(results, row).values()]
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
