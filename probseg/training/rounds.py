"""What is kept of each validation round: a record, the best weights, a state to resume from."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from probseg.sharing.checkpoint import save
from probseg.utils.atomic_files import atomic_file, write_json
from probseg.utils.interrupts import deferred_interrupts

# Raised when a checkpoint comes to hold other things, or the same settings to train otherwise: no
# run goes on from one of another number. The revision would change with every line of prose.
CODE = 2

Record = dict[str, float]
MONITOR = "validation/loss"
MICRO_BATCH = "micro_batch"  # of a record: images at a time since memory ran out
BEST, LAST, HISTORY = "best.safetensors", "last.ckpt", "history.json"

logger = logging.getLogger("probseg.training")


class RoundKeeper(Checkpoint):
    """Keeps the record of each round and, in a folder, what a later run needs.

    ``last.ckpt`` is everything that training needs to go on, ``best.safetensors`` the model of
    the round with the lowest validation loss (for ``probseg.load``), ``history.json`` the
    records. A file is replaced only once the new one is complete, and the first says which of the
    others belong to it, so that a process may be killed between any two.

    Args:
        folder: Where to write.
        history: The records of the rounds before.
        identity: Plain data by which a later run knows its own checkpoint.
        best: Digest of the best model so far.
    """

    def __init__(
        self, folder: Path, history: list[Record], identity: dict[str, Any], best: str = ""
    ) -> None:
        self.folder = folder
        self.history = list(history)
        self.identity = identity
        self.best = best
        self.started = time.monotonic() - (history[-1]["seconds"] if history else 0.0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the round that ends, and keep its state."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = time.monotonic() - self.started
        record = {"step": trainer.global_step, "seconds": seconds} | metrics | _shrunk(pl_module)
        with deferred_interrupts():  # a round is kept wholly or not at all
            self._keep(record, trainer, pl_module)

    def _keep(self, record: Record, trainer: Trainer, pl_module: LightningModule) -> None:
        self.history.append(record)
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.folder / LAST)  # takes part, and leaves the file alone
            return
        if best_round(self.history) is record:
            candidate = _candidate(self.folder, record)
            save(pl_module.model, candidate)  # type: ignore[arg-type]
            self.best = digest(candidate)
        with atomic_file(self.folder / LAST) as path:
            trainer.save_checkpoint(path)
        settle(self.folder, self.history)
        logger.info("step %d: %s %.6g", trainer.global_step, MONITOR, record[MONITOR])

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the records and the identity of the run into the checkpoint."""
        checkpoint["probseg"] = {
            "identity": self.identity,
            "history": self.history,
            "best": self.best,
        }


def settle(folder: Path, history: list[Record]) -> None:
    """Make the other files agree with ``last.ckpt``, whose records are ``history``."""
    candidate = _candidate(folder, best_round(history))
    if candidate.exists():
        candidate.replace(folder / BEST)
    for other in folder.glob(f".*-{BEST}"):  # of a round whose checkpoint was not written
        other.unlink()
    if _read_history(folder) != history:
        write_json(folder / HISTORY, history)


def _candidate(folder: Path, record: Record) -> Path:
    """Return where a round's model waits until the checkpoint says that it is the best."""
    return folder / f".{record['step']:.0f}-{BEST}"


def _read_history(folder: Path) -> list[Record] | None:
    try:
        history: list[Record] = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return history


def digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shrunk(module: Any) -> Record:
    """Return the record's word on memory that ran out, if it did."""
    limit = module.chunks.limit
    return {} if limit is None else {MICRO_BATCH: limit}


def best_round(history: list[Record]) -> Record:
    """Return the first record with the lowest validation loss."""
    return min(history, key=lambda record: record[MONITOR])


def rounds_since_best(history: list[Record]) -> int:
    """Count the rounds after the best one."""
    return len(history) - 1 - history.index(best_round(history)) if history else 0
