"""What is kept of each validation round: a record, the best weights, a state to resume from."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from probseg.checkpoints import save
from probseg.files import atomic_file, write_json

Record = dict[str, float]
MONITOR = "validation/loss"
BEST, LAST, HISTORY = "best.safetensors", "last.ckpt", "history.json"

logger = logging.getLogger("probseg.training")


class RoundKeeper(Checkpoint):
    """Keeps the record of each round and, in a folder, what a later run needs.

    ``last.ckpt`` is everything that training needs to go on, ``best.safetensors`` the model of
    the round with the lowest validation loss (for ``probseg.load``), ``history.json`` the
    records. A file is replaced only once the new one is complete.

    Args:
        folder: Where to write.
        history: The records of the rounds before.
        identity: Plain data by which a later run knows its own checkpoint.
    """

    def __init__(self, folder: Path, history: list[Record], identity: dict[str, Any]) -> None:
        self.folder = folder
        self.history = list(history)
        self.identity = identity
        self.started = time.monotonic() - (history[-1]["seconds"] if history else 0.0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the round that ends, and keep its state."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = time.monotonic() - self.started
        record = {"step": trainer.global_step, "seconds": seconds} | metrics
        self.history.append(record)
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.folder / LAST)  # takes part, and leaves the file alone
            return
        if best_round(self.history) is record:
            save(pl_module.model, self.folder / BEST)  # type: ignore[arg-type]
        with atomic_file(self.folder / LAST) as path:
            trainer.save_checkpoint(path)
        write_json(self.folder / HISTORY, self.history)
        logger.info("step %d: %s %.6g", trainer.global_step, MONITOR, record[MONITOR])

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the records and the identity of the run into the checkpoint."""
        checkpoint["probseg"] = {"identity": self.identity, "history": self.history}


def best_round(history: list[Record]) -> Record:
    """Return the first record with the lowest validation loss."""
    return min(history, key=lambda record: record[MONITOR])


def rounds_since_best(history: list[Record]) -> int:
    """Count the rounds after the best one."""
    return len(history) - 1 - history.index(best_round(history)) if history else 0
