"""Training one cell's model, resumed where it was interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import probseg
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.damaged import set_aside
from benchmarks.jobs.data import Data
from benchmarks.jobs.options import RunOptions
from benchmarks.jobs.results import TrainingSummary
from probseg.errors import CheckpointError
from probseg.interfaces import Dataset
from probseg.sharing.checkpoint import save
from probseg.training.fitting import FitResult, fit
from probseg.training.settings import TrainingSettings


@dataclass(frozen=True)
class Trained:
    """A trained model with the course of its training."""

    model: Any
    fit: FitResult
    settings: TrainingSettings

    def summary(self) -> TrainingSummary:
        """Return the training of a result, without the history."""
        return TrainingSummary(
            spec=self.model.spec,
            parameters=sum(p.numel() for p in self.model.parameters()),
            steps=self.fit.steps,
            best_step=self.fit.best_step,
            best_validation_loss=self.fit.best_validation_loss,
            stopped_early=self.fit.stopped_early,
            micro_batch=self.fit.micro_batch,
        )


def train(cell: Cell, data: Data, options: RunOptions) -> Trained:
    """Train a cell's model, going on where an earlier run stopped, and save it.

    Raises:
        ProbsegError: The model cannot be built or trained as the config says.
    """
    settings = training_settings(cell, options)
    folder = cell.folder(options.out)
    model = build_model(cell, data.source)
    try:
        done = _fit(model, data, settings, folder / "training")
    except CheckpointError as error:  # of other code or data, or damaged
        set_aside(folder / "training", error)
        model = build_model(cell, data.source)
        done = _fit(model, data, settings, folder / "training")
    save(model, folder / "model.safetensors")
    return Trained(model, done, settings)


def _fit(model: Any, data: Data, settings: TrainingSettings, out: Path) -> FitResult:
    # the progress of the run stands where that of the training would
    return fit(model, data.train, data.validation, settings, out=out, progress=False)


def build_model(cell: Cell, dataset: Dataset) -> Any:
    """Return a cell's model before training, for the channels and classes of a data set."""
    assert cell.model is not None and cell.seed is not None
    torch.manual_seed(cell.seed)  # of the initial weights
    shape = {"in_channels": dataset.channels, "classes": dataset.classes}
    return probseg.build(**{**shape, **cell.model})


def training_settings(cell: Cell, options: RunOptions) -> TrainingSettings:
    """Return how a cell is trained on this machine."""
    here = {"seed": cell.seed, "device": options.device, "devices": options.devices}
    return TrainingSettings.from_mapping({**(cell.training or {}), **here})
