"""Going on from an interrupted run: is its checkpoint readable, and is it of this run?"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from probseg.errors import CheckpointError
from probseg.options import listing
from probseg.training.rounds import (
    BEST,
    LAST,
    MICRO_BATCH,
    Record,
    digest,
    rounds_since_best,
    settle,
)
from probseg.training.settings import TrainingSettings

# Of Lightning's checkpoint: what a run needs to go on as if it had never stopped.
_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")


class Past(NamedTuple):
    """What an earlier run left."""

    history: list[Record]
    checkpoint: Path | None  # to resume from
    best: str  # digest of the best model

    def is_over(self, settings: TrainingSettings) -> bool:
        """Say whether training ended, by its steps or by early stopping."""
        return self.stopped_early(settings) or self.steps >= settings.max_steps

    def stopped_early(self, settings: TrainingSettings) -> bool:
        """Say whether the validation loss stopped falling."""
        return rounds_since_best(self.history) >= settings.patience

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return int(self.history[-1]["step"]) if self.history else 0

    @property
    def micro_batch(self) -> int | None:
        """Images at a time since memory ran out, if it did."""
        limit = self.history[-1].get(MICRO_BATCH) if self.history else None
        return None if limit is None else int(limit)


def read_past(folder: Path, identity: dict[str, Any]) -> Past:
    """Look for an earlier run in ``folder``, and tidy up where it was killed.

    Args:
        folder: Where a run kept its checkpoints, if there was one.
        identity: Plain data that the earlier run must share.

    Raises:
        CheckpointError: The checkpoint is corrupt, or of another run; the first difference is
            named.
    """
    path = folder / LAST
    if not path.exists():
        return Past([], None, "")
    checkpoint = _load(path)
    kept = checkpoint.get("probseg")
    if not isinstance(kept, dict) or not {"identity", "history", "best"} <= set(kept):
        raise CheckpointError(f"{path} is no checkpoint of probseg's training; choose another out")
    _check_same(path, kept["identity"], identity)
    if missing := [part for part in _PARTS if part not in checkpoint]:
        raise CheckpointError(f"{path} lacks {listing(missing)}; delete its folder to train anew")
    settle(folder, kept["history"])
    past = Past(kept["history"], path, kept["best"])
    _check_best(folder, past)
    return past


def load_best(model: nn.Module, folder: Path, past: Past) -> Path:
    """Load the best weights of the run in ``folder`` into ``model``, and say where they are.

    Raises:
        CheckpointError: The file is missing, corrupt or of another model.
    """
    _check_best(folder, past)
    path = folder / BEST
    try:
        load_model(model, path)
    except (RuntimeError, SafetensorError, OSError) as error:
        raise _unreadable_best(path, error) from error
    return path


def _check_best(folder: Path, past: Past) -> None:
    path = folder / BEST
    try:
        found = digest(path)
    except OSError as error:
        raise _unreadable_best(path, error) from error
    if found != past.best:
        raise _unreadable_best(path, "they are not those that its run wrote")


def _unreadable_best(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"the best weights cannot be read from {path}: {reason}; delete its folder to train anew"
    )


def _load(path: Path) -> dict[str, Any]:
    """Read a checkpoint whole; torch does not compare the checksums in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # of any kind, depending on which bytes are wrong
        raise CheckpointError(
            f"{path} cannot be read: it is corrupt; delete its folder to train anew"
        ) from error


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in now:
        if before.get(name) != now[name]:
            raise CheckpointError(
                f"{path} is of another run: its {name} is {before.get(name)!r}, not {now[name]!r}; "
                "choose another out, or delete that folder to train anew"
            )
