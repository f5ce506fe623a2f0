"""Whether results were made in the paper's setting: its profile, with Table 4's values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from benchmarks.jobs.cells import Cell, make_cell
from benchmarks.reports.analysis.experiments import Experiment
from benchmarks.suite.definition import Suite, read_suite
from benchmarks.suite.settings import FOLDS

PROFILE = "paper"
# Table 4's columns, as the config of a cell names them.
_TRAINING = ("batch_size", "learning_rate", "weight_decay", "patience")
_MODEL = ("beta", "gamma", "latent_dim")


def departures(experiment: Experiment, row: str) -> list[str]:
    """Return in words how a row's results depart from the paper's setting; nothing: they do not.

    What `benchmarks/suite/suite.toml` sets in its profile of the paper is taken for the paper's.
    """
    if experiment.profile != PROFILE:
        return [f"profile {experiment.profile}"]
    wanted = table_4(_papers(row, experiment.dataset))
    found = table_4(experiment.rows[row][0].cell)
    return [f"{k} {found.get(k)} for {v}" for k, v in wanted.items() if found.get(k) != v]


def reservations(experiment: Experiment, row: str) -> list[str]:
    """Return in words what is thinner than in the paper, though its setting is the paper's."""
    cells = experiment.rows[row]
    folds = {cell.cell.fold for cell in cells}
    cut = [cell for cell in cells if not cell.training.stopped_early]
    told = [f"{len(folds)} of {FOLDS} folds"] if len(folds) < FOLDS else []
    return [*told, f"{row} met its limit of steps before it stopped early"] if cut else told


def table_4(cell: Cell) -> dict[str, Any]:
    """Return what a cell's config says of the columns of the paper's Table 4."""
    model, training = cell.model or {}, cell.training or {}
    divergence = model.get("divergence")
    n_ot = divergence.get("samples") if isinstance(divergence, Mapping) else None
    values = {
        **{key: model.get(key) for key in _MODEL},
        **{key: training.get(key) for key in _TRAINING},
        "n_ot": n_ot,
        "n_eval": cell.evaluation.get("n_eval"),
    }
    return {key: value for key, value in values.items() if value is not None}


@cache
def _suite() -> Suite:
    return read_suite()


def _papers(row: str, dataset: str) -> Cell:
    suite = _suite()
    settings = suite.profiles[PROFILE].resolve(row, dataset)
    where = {"profile": PROFILE, "dataset": {"name": dataset}}
    return make_cell(suite.models[row], settings, **where, fold=0, seed=0)
