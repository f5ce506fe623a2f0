"""Going on from an interrupted run: is its checkpoint readable, and is it of this run?"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from probseg.errors import CheckpointError
from probseg.training.rounds import BEST, LAST, Record, rounds_since_best
from probseg.training.settings import TrainingSettings

# What torch.load raises for a file that is none of its own, depending on its first bytes.
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, OSError, EOFError),
    *(ValueError, LookupError, TypeError, AttributeError),
)


class Past(NamedTuple):
    """What an earlier run left."""

    history: list[Record]
    checkpoint: Path | None  # to resume from

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


def read_past(folder: Path, identity: dict[str, Any]) -> Past:
    """Look for an earlier run in ``folder``.

    Args:
        folder: Where a run kept its checkpoints, if there was one.
        identity: Plain data that the earlier run must share.

    Raises:
        CheckpointError: The checkpoint is corrupt, or of another run; the first difference is
            named.
    """
    path = folder / LAST
    if not path.exists():
        return Past([], None)
    kept = _load(path).get("probseg")
    if kept is None:
        raise CheckpointError(f"{path} is no checkpoint of probseg's training; choose another out")
    _check_same(path, kept["identity"], identity)
    return Past(kept["history"], path)


def load_best(model: nn.Module, folder: Path) -> Path:
    """Load the best weights of the run in ``folder`` into ``model``, and say where they are.

    Raises:
        CheckpointError: The file is missing, corrupt or of another model.
    """
    path = folder / BEST
    try:
        load_model(model, path)
    except (RuntimeError, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"the best weights cannot be read from {path}: {error}; delete its folder to train anew"
        ) from error
    return path


def _load(path: Path) -> dict[str, Any]:
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except _UNREADABLE as error:
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
