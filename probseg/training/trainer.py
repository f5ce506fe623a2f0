"""Lightning's Trainer, set up for validation rounds of steps on one device or several."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from probseg.training.checkpoints import RunCheckpoint
from probseg.training.distributed import Processes
from probseg.training.execution import Execution, kept_memory
from probseg.training.settings import TrainingSettings
from probseg.utils.contexts import silenced
from probseg.utils.progress import Advance

_TIMED_STEPS = 5
logger = logging.getLogger("probseg.training")

# Warnings that a user can do nothing about.
_HINTS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 under torch 2.15
    r".*does not have many workers.*",  # batches are vectorised reads in this process
    r".*is smaller than the logging interval.*",  # everything is logged once a validation round
    r".*GPU available but not used.*",  # who asks for a CPU beside a GPU gets it
)


def make_trainer(
    settings: TrainingSettings,
    execution: Execution,
    checkpoint: RunCheckpoint,
    *,
    rounds: int,
    callbacks: Sequence[Callback],
    log: bool,
) -> Trainer:
    """Return a trainer with early stopping, checkpoints and TensorBoard's log (``log``).

    Training ends after ``rounds`` validation rounds, those of earlier runs included.
    """
    return Trainer(
        **_devices(execution, settings.devices),
        precision="bf16-mixed" if execution.bf16 else "32-true",
        max_epochs=rounds,  # max_steps lets Lightning take a resumed round for an unfinished one
        callbacks=[_IgnoredSigterm(), *callbacks, checkpoint],  # last: it holds what others log
        logger=_tensorboard(checkpoint.folder) if log else False,
        default_root_dir=checkpoint.folder,
        plugins=LightningEnvironment(),  # on this machine, under a cluster's scheduler too
        reload_dataloaders_every_n_epochs=1,  # each validation round has its own images
        num_sanity_val_steps=0,  # a failing validation shows soon enough
        inference_mode=False,  # GeomLoss differentiates inside, which inference tensors forbid
        use_distributed_sampler=False,  # the order of the images is ours
        enable_progress_bar=False,  # Lightning's bars begin anew with each validation round
        enable_model_summary=False,
    )


class StepProgress(Callback):
    """Counts steps on a progress bar, and shows the losses of each validation round."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Count a step."""
        self.advance(1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the losses of the validation round."""
        self.advance(0, _losses(trainer))


class _IgnoredSigterm(Callback):
    """Lets a process that ignores SIGTERM go on doing so, where Lightning would end training."""

    def __init__(self) -> None:
        self.ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ignore it again, after Lightning has set its handler, which it takes back at the end."""
        if self.ignored and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


class RoundReport(Callback):
    """Tells in lines, for a log file, how far training is and how long it will take.

    Args:
        say: Is called with each line.
        steps: Of the whole run.
    """

    def __init__(self, say: Callable[[str], None], steps: int) -> None:
        self.say, self.steps = say, steps
        self.begun: deque[tuple[int, float]] = deque(maxlen=1)  # a step, and when it ended

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell where an interrupted run goes on."""
        if trainer.global_step:
            self.say(f"goes on from step {trainer.global_step} of {self.steps}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Tell the expected time, from the steps after the first, which is slower."""
        if not self.begun:
            self.begun.append((trainer.global_step, time.monotonic()))
        elif trainer.global_step == self.begun[0][0] + _TIMED_STEPS:
            self.say(f"training takes about {self._left(trainer)}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the losses of a validation round, and the time that is left."""
        losses = _losses(trainer)
        self.say(
            f"step {trainer.global_step} of {self.steps}: {losses}, {self._left(trainer)} left"
        )

    def _left(self, trainer: Trainer) -> str:
        first, begun = self.begun[0]
        seconds = (time.monotonic() - begun) / max(trainer.global_step - first, 1)
        return duration(seconds * (self.steps - trainer.global_step))


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> duration(42), duration(100), duration(5400)
    ('42 s', '2 min', '1.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def silenced_lightning() -> AbstractContextManager[None]:
    """Silence Lightning's banners, and its hints that do not apply."""
    return silenced(("lightning.pytorch", "lightning.fabric"), _HINTS)


def run_trainer(trainer: Trainer, *arguments: Any, **options: Any) -> None:
    """Call ``trainer.fit``, and let Ctrl-C and SIGTERM end it as they end other programs.

    Lightning turns ``KeyboardInterrupt`` into an exit with status 1 and leaves the signal ignored
    from then on. Of SIGTERM, after which it ends with the step, it makes an exit with status 0, or
    forgets it if the step was the last one.

    Raises:
        KeyboardInterrupt: On SIGINT.
        SystemExit: On SIGTERM; its status is 143.
    """
    with interrupts():
        trainer.fit(*arguments, **options)
        if trainer.received_sigterm:
            raise SIGTERMException


@contextmanager
def interrupts() -> Iterator[None]:
    """Undo what Lightning makes of SIGINT and SIGTERM: see :func:`run_trainer`."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _losses(trainer: Trainer) -> str:
    losses = (
        (stage, trainer.callback_metrics[f"{stage}/loss"]) for stage in ("train", "validation")
    )
    return " · ".join(f"{stage} {loss:.4g}" for stage, loss in losses)


def _devices(execution: Execution, count: int) -> dict[str, Any]:
    kind, index = execution.device.type, execution.device.index or 0
    if count == 1:
        return {"accelerator": kind, "devices": [index] if kind == "cuda" else 1}
    return {
        "accelerator": kind,
        "devices": count,
        "strategy": Processes(count, contexts=(silenced_lightning, kept_memory)),
        "sync_batchnorm": kind == "cuda",  # which torch has for GPUs only
    }


def _tensorboard(folder: Path) -> TensorBoardLogger | bool:
    if not any(find_spec(package) for package in ("tensorboard", "tensorboardX")):
        logger.warning("no TensorBoard log is written; for one: pip install 'probseg[train]'")
        return False
    return TensorBoardLogger(folder, name="", version="tensorboard")
