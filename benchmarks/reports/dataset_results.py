"""Results of one profile on one data set, and the values of the same images in two rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.jobs.results import Result

if TYPE_CHECKING:
    from probseg.plots import Curve

Values = NDArray[np.float64]
Groups = NDArray[np.str_]
Training = tuple[int, int]  # fold and seed
# in a history: the prior's Gini index, which models without a prior lack, the loss, and the weight
# of the cross-entropy that GECO chose
GINI, LOSS, GECO = "prior/gini", "validation/loss", "train/geco_multiplier"
ANNOTATORS_DIVERSITY = "annotator-diversity"  # in every result, a property of its data


@dataclass(frozen=True)
class Paired:
    """What two rows scored on the same test images, averaged over the same folds and seeds."""

    first: Values  # (N,)
    second: Values  # (N,)
    groups: Groups  # (N,), the patient of each image
    cells: int  # folds and seeds that were averaged


@dataclass(frozen=True)
class DatasetResults:
    """The results of one profile on one data set, which may be compared."""

    profile: str
    dataset: str
    rows: Mapping[str, Sequence[Result]]  # row to one a fold and seed

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The rows with a model that was trained."""
        return tuple(row for row, results in self.rows.items() if results[0].experiment.trained)

    def curves(self, row: str) -> Mapping[Training, Curve]:
        """Return fold and seed to the Gini index over one training of a row."""
        by_training = {training_of(r): training_curve(r, GINI) for r in self.rows.get(row, ())}
        return {training: curve for training, curve in by_training.items() if training and curve}

    def paired(
        self,
        first: tuple[str, str],
        second: tuple[str, str],
        *,
        variants: tuple[str, str] = ("base", "base"),
    ) -> Paired | None:
        """Return what two rows, each with a metric, scored on the images where both have a value.

        The variants say which prior of either was sampled.
        """
        one, other = shared_trainings(self.rows.get(first[0], ()), self.rows.get(second[0], ()))
        a, b = by_image(one, first[1], variants[0]), by_image(other, second[1], variants[1])
        shared = [image for image in a if image in b]
        if not shared:
            return None
        groups = dict(zip(one[0].images.index, one[0].images.group, strict=True))
        return Paired(
            np.array([a[image] for image in shared]),
            np.array([b[image] for image in shared]),
            np.array([groups[image] for image in shared]),
            max(len(one), len(other)),
        )


def by_dataset(results: Iterable[Result]) -> list[DatasetResults]:
    """Group results by profile, data set and fingerprint of the data."""
    groups: dict[tuple[str, str, str], dict[str, list[Result]]] = {}
    for result in results:
        group = result.experiment.profile, result.experiment.dataset, result.tested_on.fingerprint
        groups.setdefault(group, {}).setdefault(result.experiment.row, []).append(result)
    return [
        DatasetResults(profile, dataset, rows) for (profile, dataset, _), rows in groups.items()
    ]


def shared_trainings(
    one: Sequence[Result], other: Sequence[Result]
) -> tuple[list[Result], list[Result]]:
    """Return the results of the folds and seeds that both rows have; a baseline's fits any."""
    if not all(map(training_of, (*one, *other))):
        return list(one), list(other)
    shared = set(map(training_of, one)) & set(map(training_of, other))
    first, second = ([r for r in row if training_of(r) in shared] for row in (one, other))
    return first, second


def training_of(result: Result) -> Training | None:
    """Return fold and seed of a training, or None for a baseline."""
    fold, seed = result.experiment.fold, result.experiment.seed
    return None if fold is None or seed is None else (fold, seed)


def by_image(results: Sequence[Result], metric: str, variant: str = "base") -> dict[int, float]:
    """Return test image to its value, averaged over the cells, where every cell has one."""
    columns = [_scores(result, metric, variant) for result in results]
    if not columns:
        return {}
    shared = set.intersection(*map(set, columns))
    return {image: float(np.mean([c[image] for c in columns])) for image in sorted(shared)}


def scored_as(metric: str, result: Result) -> str:
    """Return the name under which a result has a metric of its row.

    The diversity of the annotators is that of all of them, though as samples one is left out.
    """
    of_annotators = metric == "diversity" and result.experiment.baseline == "annotators"
    return ANNOTATORS_DIVERSITY if of_annotators else metric


def _scores(result: Result, metric: str, variant: str) -> dict[int, float]:
    values = result.scores.get(variant, {}).get(scored_as(metric, result), ())
    pairs = zip(result.images.index, values, strict=bool(values))
    return {image: value for image, value in pairs if value is not None}


def training_curve(result: Result, name: str) -> Curve | None:
    """Return steps, and what the history has of a name at each, if it has anything."""
    pairs = [(record["step"], record.get(name)) for record in result.history]
    defined = [(step, value) for step, value in pairs if step is not None and value is not None]
    return ([step for step, _ in defined], [value for _, value in defined]) if defined else None


def training_curves(results: Iterable[Result], name: str) -> dict[str, dict[str, list[Curve]]]:
    """Return data set to row to one curve a cell, of the rows whose history has the name.

    Losses of different objectives have no scale in common: where a data set has several, each is a
    panel of its own, whose title names the objective.
    """
    panels: dict[str, dict[str, dict[str, list[Curve]]]] = {}
    for result in results:
        curve = training_curve(result, name)
        if curve:
            of_dataset = panels.setdefault(result.experiment.dataset, {})
            panel = of_dataset.setdefault(_objective(result) if name == LOSS else "", {})
            panel.setdefault(result.experiment.row, []).append(curve)
    return {
        f"{dataset}: {objective}" if len(of_dataset) > 1 else dataset: rows
        for dataset, of_dataset in panels.items()
        for objective, rows in of_dataset.items()
    }


def _objective(result: Result) -> str:
    """Return the terms of a loss in words, those of all models with a cross-entropy as one."""
    stage, _, total = LOSS.partition("/")
    logged = {key.partition("/")[2] for record in result.history for key in _of(record, stage)}
    terms = sorted(logged - {total, *result.means.get("base", ())})
    if "cross_entropy" in terms:
        return "cross-entropy and penalties"
    return " and ".join(term.replace("_", " ") for term in terms)


def _of(record: Mapping[str, object], stage: str) -> list[str]:
    return [key for key in record if key.startswith(f"{stage}/")]
