"""The paper: its names of models, data sets and metrics, its printed values, and its setting."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.jobs.plan import Experiment, make_experiment
from benchmarks.reports.dataset_results import DatasetResults
from benchmarks.reports.results_table import Summary
from benchmarks.suite.definition import Suite, read_suite
from benchmarks.suite.settings import FOLDS

PROFILE = "paper"
ROWS = ("csae", "2p-planar", "punet")
MODELS = {"punet": "PU-Net", "2p-planar": "2p-planar", "csae": "cSAE"}
DATASETS = {
    "lidc": "LIDC-IDRI",
    "qubiq-pancreas": "QUBIQ pancreas",
    "qubiq-pancreatic-lesion": "QUBIQ pancreatic lesion",
    "qubiq-brain-growth": "QUBIQ brain growth",
    "qubiq-brain-tumor-1": "QUBIQ brain tumor, task 1",
    "qubiq-brain-tumor-2": "QUBIQ brain tumor, task 2",
    "qubiq-brain-tumor-3": "QUBIQ brain tumor, task 3",
}
METRICS = {
    "w-iou": "Ŵ (1 − IoU)",
    "w-dice": "Ŵ (1 − Dice)",
    "w-hausdorff": "Ŵ (Hausdorff)",
    "w-cross-entropy": "Ŵ (cross-entropy)",
    "gini": "Gini index",
    "ged": "GED",
    "hungarian-iou": "Hungarian-matched IoU",
    "ncc": "correlation of uncertainty with disagreement (NCC)",
    "diversity": "diversity",
}
# Metric to its column in benchmarks/reference, the paper's Tables 1 and 2.
PRINTED = {
    "w-iou": "one_minus_iou",
    "w-dice": "one_minus_dice",
    "w-hausdorff": "hausdorff",
    "w-cross-entropy": "cross_entropy",
    "gini": "gini",
}
_REFERENCE = Path(__file__).parents[2] / "reference"


def model_name(row: str) -> str:
    """Return a row's name as the paper prints it."""
    return MODELS.get(row, row)


def dataset_name(dataset: str) -> str:
    """Return a data set's name as the paper prints it."""
    return DATASETS.get(dataset, dataset)


def metric_name(metric: str) -> str:
    """Return a metric's name in words."""
    return METRICS.get(metric, metric)


@dataclass(frozen=True)
class Published:
    """What the paper prints of one data set."""

    number: int  # of the table
    dataset: str
    rows: Mapping[str, Mapping[str, Summary]]  # model to metric to mean and deviation

    def value(self, row: str, metric: str) -> Summary:
        """Return a model's value."""
        return self.rows[row][metric]

    def lowest(self, metric: str) -> str:
        """Return the model with the lowest value, which the paper prints bold."""
        return min(self.rows, key=lambda row: self.rows[row][metric].mean)


@cache
def published() -> tuple[Published, ...]:
    """Return every data set of Tables 1 and 2, in the paper's order."""
    by_dataset: dict[tuple[int, str], dict[str, dict[str, Summary]]] = {}
    for number in (1, 2):
        text = (_REFERENCE / f"table{number}.csv").read_text(encoding="utf-8")
        for line in csv.DictReader(text.splitlines()):
            values = {metric: _summary(line, column) for metric, column in PRINTED.items()}
            by_dataset.setdefault((number, line["dataset"]), {})[line["model"]] = values
    return tuple(Published(number, name, rows) for (number, name), rows in by_dataset.items())


def _summary(line: Mapping[str, str], column: str) -> Summary:
    # "due to threefold cross-validation", the tables' captions
    return Summary(float(line[column]), float(line[f"{column}_sd"]), FOLDS)


# Table 4's columns, as the config of a cell names them.
_TRAINING = ("batch_size", "learning_rate", "weight_decay", "patience")
_MODEL = ("beta", "gamma", "latent_dim")


def departures(results: DatasetResults, row: str) -> list[str]:
    """Return in words how a row's results depart from the paper's setting; empty if they do not.

    The paper's setting is what the suite sets in its profile of that name.
    """
    if results.profile != PROFILE:
        return [f"profile {results.profile}"]
    expected = table_4(_paper_cell(row, results.dataset))
    actual = table_4(results.rows[row][0].experiment)
    return [f"{k} {actual.get(k)} for {v}" for k, v in expected.items() if actual.get(k) != v]


def reservations(results: DatasetResults, row: str) -> list[str]:
    """Return in words what is less than in the paper, though the setting is the paper's."""
    own = results.rows[row]
    folds = {result.experiment.fold for result in own}
    cut = any(r.training is not None and not r.training.stopped_early for r in own)
    fewer = [f"{len(folds)} of {FOLDS} folds"] if len(folds) < FOLDS else []
    return [*fewer, f"{row} met its limit of steps before it stopped early"] if cut else fewer


def table_4(cell: Experiment) -> dict[str, Any]:
    """Return the values of a cell in the columns of the paper's Table 4."""
    model, training = cell.model or {}, cell.training or {}
    divergence = model.get("divergence")
    values = {
        **{key: model.get(key) for key in _MODEL},
        **{key: training.get(key) for key in _TRAINING},
        "n_ot": divergence.get("samples") if isinstance(divergence, Mapping) else None,
        "n_eval": cell.evaluation.get("n_eval"),
    }
    return {key: value for key, value in values.items() if value is not None}


@cache
def _suite() -> Suite:
    return read_suite()


def _paper_cell(row: str, dataset: str) -> Experiment:
    suite = _suite()
    settings = suite.profiles[PROFILE].resolve(row, dataset)
    source = {"name": dataset}
    entry = suite.models[row]
    return make_experiment(entry, settings, profile=PROFILE, dataset=source, fold=0, seed=0)
