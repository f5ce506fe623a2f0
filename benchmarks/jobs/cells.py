"""Cells: one row on one fold of one data set with one seed, each an independent job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.suite.definition import Entry, Profile, Suite
from benchmarks.suite.settings import DATA, EVALUATION, MODEL

FOLDS = 3  # of the paper's cross-validation


@dataclass(frozen=True)
class Cell:
    """One job of the benchmark as plain data, which can be hashed, written down and sent away.

    The config is everything that decides the cell's numbers, save the data and the code.
    """

    config: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """Eight hex digits that differ wherever the config does."""
        canonical = json.dumps(self.config, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.config["dataset"]["name"])

    @property
    def row(self) -> str:
        """Name of the table's row."""
        return str(self.config["row"])

    @property
    def trained(self) -> bool:
        """Whether there is a model to train."""
        return self.config["model"] is not None

    @property
    def label(self) -> str:
        """What a person reads."""
        parts = [self.dataset, self.row]
        if self.trained:
            parts += [f"fold {self.config['fold']}", f"seed {self.config['seed']}"]
        return " · ".join(parts)

    def folder(self, out: Path) -> Path:
        """Return where this cell keeps its result, checkpoint and pictures."""
        which = f"fold{self.config['fold']}-seed{self.config['seed']}-" if self.trained else ""
        return out / "cells" / self.config["profile"] / self.dataset / self.row / (which + self.key)


def plan(
    suite: Suite,
    profile: Profile,
    *,
    datasets: Iterable[str],
    rows: Iterable[str],
    folds: Iterable[int],
    seeds: Iterable[int],
) -> list[Cell]:
    """Return the cells of every data set, row, fold and seed, in the order of the table.

    A baseline that is not trained has one cell on each data set: folds share the test set.
    """
    cells = {}
    for dataset, row, fold, seed in product(datasets, rows, folds, seeds):
        entry = suite.models[row]
        settings = {**profile.resolve(row, dataset), **entry.settings}
        source = {"name": dataset, **suite.datasets.get(dataset, {})}
        config = configure(entry, settings, dataset=source, fold=fold, seed=seed)
        cell = Cell({"profile": profile.name, **config})
        cells.setdefault(cell.key, cell)
    return list(cells.values())


def configure(
    entry: Entry, settings: Mapping[str, Any], *, dataset: Mapping[str, Any], fold: int, seed: int
) -> dict[str, Any]:
    """Return the config of one cell; a baseline's names no fold, seed or training."""
    training = {k: v for k, v in settings.items() if k not in (*MODEL, *DATA, *EVALUATION)}
    trained = entry.build is not None
    latents = {"latents": list(entry.latents)} if entry.latents else {}
    return {
        "row": entry.name,
        "dataset": dict(dataset),
        "fold": fold if trained else None,
        "seed": seed if trained else None,
        "data": {key: settings[key] for key in DATA if key in settings},
        "evaluation": {
            **{key: settings[key] for key in EVALUATION if key in settings},
            "projected": entry.projected,
            **latents,
        },
        "baseline": entry.baseline,
        "model": entry.model(settings),
        "training": training if trained else None,
    }
