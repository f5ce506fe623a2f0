"""What a run keeps of each validation round, and how a later run goes on from it.

``last.ckpt`` is everything that training needs to go on, ``best.safetensors`` the model with the
best value of what it monitors (for ``probseg.load``), ``history.json`` the records.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from probseg.errors import CheckpointError
from probseg.options import listing
from probseg.sharing.checkpoint import save
from probseg.training.monitor import Monitor, Record
from probseg.training.settings import TrainingSettings
from probseg.utils.atomic_files import atomic_file, deferred_interrupts, write_json
from probseg.utils.contexts import uncompiled

# Increase it when the content of a checkpoint changes, or when the same settings train differently:
# no run resumes from another number. The revision of the code would change with every comment.
CODE = 2

MICRO_BATCH = "micro_batch"  # of a record: images at a time since memory ran out
BEST, LAST, HISTORY = "best.safetensors", "last.ckpt", "history.json"

# Of Lightning's checkpoint: what a run needs to go on as if it had never stopped.
_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")

_CONTAINERS = (dict, OrderedDict, list, tuple, set)  # of which only the content may be at fault
_FOLDER = 0x10  # among the attributes of an entry of a zip file

logger = logging.getLogger("probseg.training")


class Run(NamedTuple):
    """A run as its folder holds it."""

    history: list[Record] = []  # noqa: RUF012  # nobody writes to it
    checkpoint: Path | None = None  # to resume from
    best_digest: str = ""  # SHA-256 of the best model's file

    def is_over(self, settings: TrainingSettings) -> bool:
        """Return whether training ended, by its steps or by early stopping."""
        return self.stopped_early(settings) or self.steps >= settings.max_steps

    def stopped_early(self, settings: TrainingSettings) -> bool:
        """Return whether the monitored value no longer got better."""
        return Monitor.of(settings).waited(self.history) >= settings.patience

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return int(self.history[-1]["step"]) if self.history else 0

    @property
    def micro_batch(self) -> int | None:
        """Images at a time since memory ran out, if it did."""
        limit = self.history[-1].get(MICRO_BATCH) if self.history else None
        return None if limit is None else int(limit)


class RunCheckpoint(Checkpoint):
    """Keeps the record of each validation round and, in a folder, what a later run needs.

    A file is replaced only once the new one is complete, and ``last.ckpt`` is replaced first and
    says which of the other files belong to it, so that a process may be killed between any two.
    ``identity`` is plain data that a later run must share to go on from this one. Training stops
    after ``settings.patience`` rounds without a better value.
    """

    def __init__(
        self, folder: Path, run: Run, identity: dict[str, Any], settings: TrainingSettings
    ) -> None:
        self.folder = folder
        self.patience = settings.patience
        self.monitor = Monitor.of(settings)
        self.history = list(run.history)
        self.identity = identity
        self.best_digest = run.best_digest
        self.started = time.monotonic() - (run.history[-1]["seconds"] if run.history else 0.0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation round that ends, and keep its state."""
        module: Any = pl_module
        record = {"step": trainer.global_step, "seconds": time.monotonic() - self.started}
        record |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        if module.gradients.limit is not None:
            record[MICRO_BATCH] = module.gradients.limit
        self.history.append(record)
        with deferred_interrupts():  # all of its files are written, or none
            self._write(trainer, pl_module)
        if self.monitor.waited(self.history) >= self.patience:
            trainer.should_stop = True

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.folder / LAST)  # takes part, and leaves the file alone
            return
        record = self.history[-1]
        candidate = _candidate(self.folder, record)
        if self.monitor.best(self.history) is record:
            model: Any = pl_module.model
            save(model, candidate)
            self.best_digest = _digest(candidate)
        try:
            with atomic_file(self.folder / LAST) as path:
                trainer.save_checkpoint(path)
        except OSError:  # without space: what is of no use gives it back
            candidate.unlink(missing_ok=True)
            raise
        _settle(self.folder, self.history, self.monitor)
        key = self.monitor.key
        logger.info("step %d: %s %.6g", trainer.global_step, key, record[key])

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the records and the identity of the run into the checkpoint.

        Raises:
            CheckpointError: A callback's state could not be read again.
        """
        for name, state in checkpoint["callbacks"].items():
            _check_restorable(name, state)
        checkpoint["probseg"] = {
            "identity": self.identity,
            "history": self.history,
            "best": self.best_digest,
        }


def _check_restorable(name: str, state: Any) -> None:
    try:
        _reread(state)
    except Exception as error:  # of any kind, depending on the object
        kinds = listing(list(_unreadable(state)))
        raise CheckpointError(
            f"the state of the callback {name} cannot be kept, as it could not be read again "
            f"safely (it holds {kinds}); let its state_dict() return numbers, texts, lists, "
            "mappings and tensors only, such as array.tolist()"
        ) from error


def _reread(state: Any) -> None:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    torch.load(file, weights_only=True)


def _unreadable(state: Any, path: str = "") -> Iterator[str]:
    """Yield the types in a state that cannot be read again, and where they are."""
    try:
        _reread(state)
    except Exception:  # of any kind, depending on the object
        if type(state) not in _CONTAINERS:
            yield f"{_type_name(state)}{path and f' at {path}'}"
            return
        named = isinstance(state, dict)
        for key, value in state.items() if named else enumerate(state):
            yield from _unreadable(value, f"{path}[{key!r}]")


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def read_run(folder: Path, identity: dict[str, Any], monitor: Monitor) -> Run:
    """Return the run that ``folder`` holds, if any, and complete what a kill left unfinished.

    Raises:
        CheckpointError: The checkpoint is corrupt, or of another run; the first difference is
            named.
    """
    path = folder / LAST
    if not path.exists():
        return Run()
    checkpoint = _read_checkpoint(path)
    ours = checkpoint.get("probseg")
    if not isinstance(ours, dict) or not {"identity", "history", "best"} <= set(ours):
        raise CheckpointError(
            f"{path} is not a checkpoint of probseg's training; choose another folder with out="
        )
    for name in {**identity, **ours["identity"]}:
        other, value = ours["identity"].get(name), identity.get(name)
        if other != value:
            raise CheckpointError(
                f"{path} belongs to another run, whose {_difference(name, other, value)}; choose "
                "another folder with out="
            )
    if missing := [part for part in _PARTS if part not in checkpoint]:
        raise CheckpointError(f"{path} lacks {listing(missing)}; delete its folder to train anew")
    _settle(folder, ours["history"], monitor)
    with _readable(folder / BEST) as best:
        if _digest(best) != ours["best"]:
            raise OSError("they are not those that its run wrote")
    return Run(ours["history"], path, ours["best"])


def _difference(name: str, theirs: Any, ours: Any) -> str:
    """Return the first value that differs, within mappings by its path."""
    if name.endswith(" data"):  # whose fingerprints say nothing
        return f"{name} is another"
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{name} is {theirs!r}, not {ours!r}"
    key = next(key for key in {**ours, **theirs} if theirs.get(key) != ours.get(key))
    return _difference(f"{name}.{key}", theirs.get(key), ours.get(key))


def load_best(model: nn.Module, folder: Path) -> Path:
    """Load the best weights of the run in ``folder`` into ``model``, and return their path.

    Raises:
        CheckpointError: The file is missing, corrupt or of another model.
    """
    with _readable(folder / BEST) as path, uncompiled(model) as plain:
        load_model(plain, path)
    return path


def _settle(folder: Path, history: list[Record], monitor: Monitor) -> None:
    """Make the other files agree with ``last.ckpt``, whose records are ``history``."""
    candidate = _candidate(folder, monitor.best(history))
    if candidate.exists():
        candidate.replace(folder / BEST)
    for other in folder.glob(f".*-{BEST}"):  # whose checkpoint was not written
        other.unlink()
    path = folder / HISTORY
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if before != history:
        write_json(path, history)


def _candidate(folder: Path, record: Record) -> Path:
    """Return where a model waits until the checkpoint says that it is the best."""
    return folder / f".{record['step']:.0f}-{BEST}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """Raise errors of reading the best weights as :class:`CheckpointError`."""
    try:
        yield path
    except (RuntimeError, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"the best weights cannot be read from {path}: {error}; delete its folder to train anew"
        ) from error


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums in it
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
            # of what it marks as a folder, torch reads no bytes, and takes whatever is in memory
            if any(entry.external_attr & _FOLDER for entry in archive.infolist()):
                raise ValueError("a tensor is marked as a folder")
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # of any kind, depending on which bytes are wrong
        if "Unsupported global" in str(error):  # of a healthy file
            raise CheckpointError(
                f"{path} holds an object that cannot be read safely, such as the state of a "
                "callback; its run cannot go on, and its best weights are as they were: choose "
                "another folder with out="
            ) from error
        raise CheckpointError(
            f"{path} cannot be read: it is corrupt; delete its folder to train anew"
        ) from error
