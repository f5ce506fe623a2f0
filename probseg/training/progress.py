"""A bar that counts the steps of the whole run and says when it will end."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class StepProgress(Callback):
    """Shows steps, losses and the remaining time; silent where the output is no terminal.

    Lightning's own bars begin anew with each epoch, which here is a validation round.

    Args:
        max_steps: Steps of the whole run.
    """

    def __init__(self, max_steps: int) -> None:
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )
        self.bar.disable = not self.bar.console.is_terminal
        self.task = self.bar.add_task("training", total=max_steps, losses="", start=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin at the step that a resumed run has reached."""
        self.bar.start()
        self.bar.reset(self.task, completed=trainer.global_step)  # an update would count as speed

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Count a step."""
        self.bar.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the losses of the round."""
        metrics = trainer.callback_metrics
        shown = (f"{stage} {metrics[f'{stage}/loss']:.4g}" for stage in ("train", "validation"))
        self.bar.update(self.task, losses=" · ".join(shown))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the terminal back."""
        self.bar.stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back before the error is shown on it."""
        self.bar.stop()
