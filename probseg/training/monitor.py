"""What decides which weights of a run are the best, and when it stops."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer

from probseg.datasets.batches import data_title
from probseg.errors import DataError, OptionError
from probseg.interfaces import Dataset
from probseg.metrics.model_evaluation import evaluate
from probseg.metrics.score_collector import choose_metrics
from probseg.training.settings import LOSS, TrainingSettings

Record = dict[str, float]
_SAMPLES = 16  # of each image, as in an evaluation


class Monitor(NamedTuple):
    """A value of each validation round, and in which direction it is better."""

    name: str = LOSS
    higher_is_better: bool = False

    @classmethod
    def of(cls, settings: TrainingSettings) -> Monitor:
        """Return what the settings name.

        Raises:
            UnknownNameError: There is no such metric.
            OptionError: Neither larger nor smaller values of it are better.
        """
        if settings.monitor == LOSS:
            return cls()
        metric = choose_metrics([settings.monitor], latent=True)[settings.monitor]
        if metric.higher_is_better is None:
            raise OptionError(
                f"monitor={settings.monitor!r} cannot decide which weights are best, as neither "
                "larger nor smaller values of it are better; choose 'ged', 'hungarian-iou' or "
                "'loss'"
            )
        return cls(settings.monitor, metric.higher_is_better)

    @property
    def key(self) -> str:
        """Its name in the records of the history."""
        return f"validation/{self.name}"

    def best(self, history: list[Record]) -> Record:
        """Return the first record with the best value."""
        sign = -1 if self.higher_is_better else 1
        return min(history, key=lambda record: sign * record[self.key])

    def waited(self, history: list[Record]) -> int:
        """Return how many rounds ago that was."""
        return len(history) - 1 - history.index(self.best(history)) if history else 0


class MetricMonitor(Callback):
    """Logs a metric of the model's samples for all images and annotators of a data set.

    It draws its own random numbers, the same in each round.

    Raises:
        DataError: The metric has no value on the data set (raised when it is measured).
    """

    def __init__(self, monitor: Monitor, data: Dataset, *, seed: int) -> None:
        self.monitor, self.data, self.seed = monitor, data, seed

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log."""
        model: Any = pl_module.model
        name, device = self.monitor.name, str(pl_module.device)
        scores = evaluate(
            *(model, self.data, _SAMPLES),
            metrics=[name],
            device=device,
            seed=self.seed,
            progress=False,
        )
        value = scores.mean()[name]
        if not math.isfinite(value):
            raise DataError(
                f"monitor={name!r} has no value on data set {data_title(self.data)!r}"
                f" ({scores.problems.get(name, 'it is NaN for every image')}); monitor another "
                "metric or 'loss'"
            )
        pl_module.log_dict(
            {self.monitor.key: value},
            batch_size=1,
            sync_dist=trainer.world_size > 1,  # each process measured the same
        )
