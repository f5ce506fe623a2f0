"""Lightning's Trainer, set up for rounds of steps on one device or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from probseg.training.parallel import DataParallel
from probseg.training.precision import Execution
from probseg.training.progress import StepProgress
from probseg.training.rounds import MONITOR, RoundKeeper
from probseg.training.settings import TrainingSettings

# How probseg departs from Lightning's defaults, and why.
_DEPARTURES: dict[str, Any] = {
    "reload_dataloaders_every_n_epochs": 1,  # each round has its own images
    "num_sanity_val_steps": 0,  # a failing validation shows soon enough
    "inference_mode": False,  # GeomLoss differentiates inside, which inference tensors forbid
    "use_distributed_sampler": False,  # the order of the images is ours
    "enable_progress_bar": False,  # StepProgress counts the whole run instead
    "enable_model_summary": False,
}


class Shown(NamedTuple):
    """What is told of a run while it goes on."""

    log: bool  # whether to write TensorBoard's log to the keeper's folder
    progress: bool  # whether to show a progress bar
    callbacks: Sequence[Callback] = ()  # the user's


def make_trainer(
    settings: TrainingSettings,
    execution: Execution,
    keeper: RoundKeeper,
    *,
    rounds: int,
    shown: Shown,
) -> Trainer:
    """Set up early stopping, checkpoints, the progress bar and TensorBoard's log.

    Args:
        settings: Patience and the number of steps.
        execution: Device and precision.
        keeper: Keeps checkpoints and records in its folder.
        rounds: Validation rounds after which training ends, those of earlier runs included.
        shown: What is told while it trains.
    """
    return Trainer(
        **_where(execution, settings.devices),
        max_epochs=rounds,
        callbacks=_callbacks(settings, keeper, shown),
        logger=_make_log(keeper.folder) if shown.log else False,
        default_root_dir=keeper.folder,
        **_DEPARTURES,
    )


def _where(execution: Execution, devices: int) -> dict[str, Any]:
    device = execution.device
    several = {
        "strategy": DataParallel(devices),
        "devices": devices,
        "sync_batchnorm": device.type == "cuda",  # which torch has for GPUs only
    }
    one = {"devices": [device.index or 0] if device.type == "cuda" else 1}
    return {
        **(several if devices > 1 else one),
        "accelerator": device.type,
        "precision": "bf16-mixed" if execution.bf16 else "32-true",
        "plugins": LightningEnvironment(),  # on this machine, under a cluster's scheduler too
    }


def _callbacks(settings: TrainingSettings, keeper: RoundKeeper, shown: Shown) -> list[Callback]:
    stopping = EarlyStopping(MONITOR, patience=settings.patience, check_on_train_epoch_end=True)
    # a terminal cannot be sent to another process
    bar = [StepProgress(settings.max_steps)] if shown.progress and settings.devices == 1 else []
    # what is kept includes the state of early stopping, and what the user's log
    return [*bar, *shown.callbacks, stopping, keeper]


def _make_log(folder: Path) -> TensorBoardLogger:
    return TensorBoardLogger(folder, name="", version="tensorboard")
