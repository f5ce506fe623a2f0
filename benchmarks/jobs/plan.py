"""Experiments, one row on one fold of one data set with one seed each, and plans of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.jobs.records import check_keys
from benchmarks.suite.definition import Profile, Suite, SuiteRow
from benchmarks.suite.settings import DATA, EVALUATION, MODEL
from probseg.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment as plain data, which can be hashed, written down and sent away.

    It is everything that decides the numbers, save the data and the code.
    """

    profile: str
    row: str  # of the table
    dataset: str
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    fold: int | None = None  # None where nothing is trained, as for the seed
    seed: int | None = None  # of training
    # What the suite gave; what it left out has its default.
    data: Mapping[str, Any] = field(default_factory=dict)  # see DataSettings
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # see EvaluationSettings
    baseline: str | None = None
    model: Mapping[str, Any] | None = None  # what ``probseg.build`` is called with
    training: Mapping[str, Any] | None = None

    @classmethod
    def from_json(cls, config: object, *, where: str = "config") -> Experiment:
        """Return an experiment from the config of a result.

        Raises:
            DataError: It is no such config.
        """
        values = check_keys(config, KEYS, required=KEYS, where=where)
        if not isinstance(values["dataset"], Mapping) or "name" not in values["dataset"]:
            raise DataError(f"{where}: dataset must be an object with a name")
        options = dict(values.pop("dataset"))
        return cls(dataset=options.pop("name"), dataset_options=options, **values)

    def to_json(self) -> dict[str, Any]:
        """Return the config as a result holds it."""
        source = {"name": self.dataset, **self.dataset_options}
        return {key: source if key == "dataset" else getattr(self, key) for key in KEYS}

    @cached_property
    def key(self) -> str:
        """Eight hex digits that differ wherever the config does."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    @property
    def trained(self) -> bool:
        """Whether there is a model to train."""
        return self.model is not None

    @property
    def label(self) -> str:
        """The experiment in words."""
        parts = [self.dataset, self.row]
        if self.trained:
            parts += [f"fold {self.fold}", f"seed {self.seed}"]
        return " · ".join(parts)

    def folder(self, out: Path) -> Path:
        """Return where this experiment keeps its result, checkpoint and pictures."""
        which = f"fold{self.fold}-seed{self.seed}-" if self.trained else ""
        return out / "cells" / self.profile / self.dataset / self.row / (which + self.key)


class Plan(NamedTuple):
    """Which experiments a run has, and where their settings are from."""

    suite: Suite
    profile: Profile
    experiments: Sequence[Experiment]


# of the config in a result, which keeps the data set's options beside its name
KEYS = [field.name for field in fields(Experiment) if field.name != "dataset_options"]


def plan_experiments(
    suite: Suite,
    profile: Profile,
    *,
    datasets: Iterable[str],
    rows: Iterable[str],
    folds: Iterable[int],
    seeds: Iterable[int],
) -> list[Experiment]:
    """Return the experiments of every data set, row, fold and seed, in the order of the table.

    A baseline that is not trained has one experiment on each data set: folds share the test set.
    """
    experiments: dict[str, Experiment] = {}
    for dataset, row, fold, seed in product(datasets, rows, folds, seeds):
        experiment = make_experiment(
            suite.models[row],
            profile.resolve(row, dataset),
            profile=profile.name,
            dataset={"name": dataset, **suite.datasets.get(dataset, {})},
            fold=fold,
            seed=seed,
        )
        experiments.setdefault(experiment.key, experiment)
    return list(experiments.values())


def make_experiment(
    row: SuiteRow,
    settings: Mapping[str, Any],
    *,
    profile: str,
    dataset: Mapping[str, Any],
    fold: int,
    seed: int,
) -> Experiment:
    """Return the experiment of a row with resolved settings, over which those of the row win.

    The data set is a name with its options. A baseline's experiment has no fold, seed or training.
    """
    settings = {**settings, **row.settings}
    asked = {"stratified": row.stratified, "latents": list(row.latents)}
    variants = {name: value for name, value in asked.items() if value}  # keys of old results
    evaluation = {key: settings[key] for key in EVALUATION if key in settings}
    others = {k: v for k, v in settings.items() if k not in (*MODEL, *DATA, *EVALUATION)}
    trained = row.build is not None
    return Experiment.from_json(
        {
            "profile": profile,
            "row": row.name,
            "dataset": dataset,
            "fold": fold if trained else None,
            "seed": seed if trained else None,
            "data": {key: settings[key] for key in DATA if key in settings},
            "evaluation": {**evaluation, "projected": row.projected, **variants},
            "baseline": row.baseline,
            "model": row.model(settings),
            "training": others if trained else None,
        }
    )
