"""Experiments: the results of one profile on the same data, and values of the same images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.jobs.results import Result

Values = NDArray[np.float64]
Groups = NDArray[np.str_]
Fit = tuple[int, int]  # fold and seed


@dataclass(frozen=True)
class Paired:
    """What two rows scored on the same test images, averaged over the same folds and seeds."""

    first: Values  # (N,)
    second: Values  # (N,)
    groups: Groups  # (N,), the patient of each image
    cells: int  # folds and seeds that were averaged


@dataclass(frozen=True)
class Experiment:
    """Results that may be compared: of one profile, on the same data."""

    profile: str
    dataset: str
    rows: Mapping[str, Sequence[Result]]  # row to its cells

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The rows with a model that was trained."""
        return tuple(r for r, cells in self.rows.items() if cells[0]["config"]["model"] is not None)

    def paired(
        self,
        first: tuple[str, str],
        second: tuple[str, str],
        *,
        variants: tuple[str, str] = ("base", "base"),
    ) -> Paired | None:
        """Return what two rows scored on the images where both have a value.

        Args:
            first: A row and a metric.
            second: Another row, metric or both.
            variants: Which prior of either was sampled.
        """
        one, other = shared_cells(self.rows.get(first[0], ()), self.rows.get(second[0], ()))
        a = by_image(one, first[1], variants[0])
        b = by_image(other, second[1], variants[1])
        images = [image for image in a if image in b]
        if not images:
            return None
        groups = dict(zip(one[0]["images"]["index"], one[0]["images"]["group"], strict=True))
        return Paired(
            np.array([a[image] for image in images]),
            np.array([b[image] for image in images]),
            np.array([groups[image] for image in images]),
            max(len(one), len(other)),
        )


def experiments(results: Iterable[Result]) -> list[Experiment]:
    """Sort results by profile, data set and fingerprint of the data."""
    found: dict[tuple[str, str, str], dict[str, list[Result]]] = {}
    for result in results:
        config = result["config"]
        what = config["profile"], config["dataset"]["name"], result["data"]["fingerprint"]
        found.setdefault(what, {}).setdefault(config["row"], []).append(result)
    return [Experiment(profile, dataset, rows) for (profile, dataset, _), rows in found.items()]


def shared_cells(
    one: Sequence[Result], other: Sequence[Result]
) -> tuple[list[Result], list[Result]]:
    """Return the cells of the folds and seeds that both rows have; a baseline's one suits any."""
    fits = set(map(fit, one)) & set(map(fit, other))
    if any(fit(result) is None for result in (*one, *other)):
        return list(one), list(other)
    return [r for r in one if fit(r) in fits], [r for r in other if fit(r) in fits]


def fit(result: Result) -> Fit | None:
    """Return fold and seed of a training, or nothing for a baseline."""
    config = result["config"]
    return None if config["fold"] is None else (config["fold"], config["seed"])


def by_image(cells: Sequence[Result], metric: str, variant: str = "base") -> dict[int, float]:
    """Return test image to its value, averaged over the cells, where every cell has one."""
    columns = [_scores(cell, metric, variant) for cell in cells]
    if not columns:
        return {}
    shared = set.intersection(*map(set, columns))
    return {image: float(np.mean([c[image] for c in columns])) for image in sorted(shared)}


def _scores(cell: Result, metric: str, variant: str) -> dict[int, float]:
    values = cell["scores"].get(variant, {}).get(metric, ())
    pairs = zip(cell["images"]["index"], values, strict=bool(values))
    return {image: value for image, value in pairs if value is not None}
