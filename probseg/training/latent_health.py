"""A callback that measures the latent space of a model while it trains."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from probseg.datasets.annotators import complete
from probseg.datasets.batches import data_title, read_batch
from probseg.datasets.cache.source import chunked
from probseg.datasets.mask_kinds import ignore_index_of
from probseg.datasets.views import as_dataset
from probseg.errors import InputError, OptionError
from probseg.interfaces import Batch, Dataset
from probseg.metrics.collapse import (
    LatentStatistics,
    collapse_warnings,
    has_latents,
    latent_statistics,
)
from probseg.options import check_integer
from probseg.utils.contexts import evaluating

logger = logging.getLogger("probseg.training")

# Measurements in a row that show a problem before the warning: a new model shows all of them.
_PATIENCE = 3
_READ = 16  # images at a time


class LatentHealth(Callback):
    """Measures the latent space on fixed images after each epoch, and warns when it collapses.

    ``fit(model, train, validation, settings, callbacks=[LatentHealth(validation)])``, or in
    ``lightning.Trainer(callbacks=[...])``. It works with any model that has ``sample(image, n)``
    and ``prior(image)``, or ``latents(image, label)`` for pairs of densities at several scales, be
    it the LightningModule itself or its attribute ``model``. Logged are ``latent/gini``,
    ``latent/effective_rank``, ``latent/diversity``, and for a model that has
    ``posterior(image, label)`` ``latent/active_units``, ``latent/kl`` and ``latent/kl_0`` to
    ``latent/kl_{L-1}``; of several scales ``latent/scale_0/gini`` and so on, 0 being the coarsest.
    See :class:`probseg.metrics.collapse.LatentStatistics`. It draws its own random numbers, so
    training is the same without it, to the bit on a CPU.

    Args:
        probe: The images with their annotations: some of a data set (``images`` of them, evenly
            spread), or all images of a batch.
        images: How many of a data set to take.
        samples: Of each image.

    Attributes:
        history: The global step and the :class:`~probseg.metrics.collapse.LatentStatistics` of each
            measurement.

    Raises:
        OptionError: A count is below one, or the data set is empty.
    """

    def __init__(
        self,
        probe: Dataset | Batch,
        *,
        images: int = 16,
        samples: int = 8,
    ) -> None:
        check_integer("images", images)
        self.probe = probe if isinstance(probe, Batch) else _some(probe, images)
        self.ignore_index = None if isinstance(probe, Batch) else ignore_index_of(probe)
        self.samples = check_integer("samples", samples)
        self.history: list[tuple[int, LatentStatistics]] = []
        self._in_a_row: dict[str, int] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that there is a model to measure."""
        model_of(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log, and warn; an epoch of ``fit`` ends with a validation."""
        model = model_of(pl_module)
        device = pl_module.device
        image, masks, present = self.probe
        present = None if present is None else present.to(device)
        batch = Batch(image.to(device), masks.to(device), present)
        options: dict[str, Any] = {
            "samples": self.samples,
            "generator": torch.Generator().manual_seed(0),
            "ignore_index": self._ignored(pl_module),
        }
        with evaluating(model):
            health = latent_statistics(model, batch, **options)
        self.history.append((trainer.global_step, health))
        pl_module.log_dict(
            {f"latent/{name}": value for name, value in health.scalars().items()},
            batch_size=1,
            sync_dist=trainer.world_size > 1,  # each process measured the same
        )
        if trainer.is_global_zero:
            self._warn(collapse_warnings(health, getattr(model, "spec", None)), trainer.global_step)

    def _ignored(self, module: LightningModule) -> int | None:
        """Return the value to ignore: of the data set, or of the training that this is part of."""
        value: int | None = getattr(module, "ignore_index", None)
        return self.ignore_index if self.ignore_index is not None else value

    def _warn(self, problems: dict[str, str], step: int) -> None:
        """Warn of each problem that has lasted long enough, once until it goes away."""
        for name in self._in_a_row.keys() - problems:
            del self._in_a_row[name]
        for name, message in problems.items():
            self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
            if self._in_a_row[name] == _PATIENCE:
                logger.warning("latent space, step %d: %s.", step, message)


def tell_one_annotator(model: nn.Module, dataset: Dataset) -> None:
    """Warn before a model with a latent space is trained on one annotation an image."""
    if has_latents(model) and len(dataset) and not _has_two_annotations(dataset):
        logger.warning(
            "every image of data set %r has one annotation. It teaches where an annotation is "
            "likely, and from similar images with other annotations how these vary; it cannot "
            "teach how several annotators of one image would differ, nor can that be measured: "
            "how near the samples come to the annotation is all that scores say, and a latent "
            "space that is hardly used is no fault",
            data_title(dataset),
        )


def _has_two_annotations(dataset: Dataset) -> bool:
    """Return whether an image has two annotations, as the first ones that are read usually do."""
    if dataset.annotators == 1:
        return False
    ignored = ignore_index_of(dataset)
    return any(
        part.masks.shape[1] > 1
        for indices in chunked(range(len(dataset)), _READ)
        for part in complete(read_batch(dataset, indices), ignored)
    )


def model_of(module: nn.Module) -> Any:
    """Return the module itself, or its ``model``: the one that has a prior.

    Raises:
        InputError: Neither has.
    """
    for model in (module, getattr(module, "model", None)):
        if has_latents(model):
            return model
    raise InputError(
        f"neither {type(module).__name__} nor its attribute 'model' has prior(image), so there is "
        "no latent space to measure; leave LatentHealth out for such a model"
    )


def _some(dataset: Dataset, images: int) -> Batch:
    dataset = as_dataset(dataset)
    count = len(dataset)
    if not count:
        raise OptionError(f"data set {data_title(dataset)!r} holds no image to measure")
    indices = torch.linspace(0, count - 1, min(images, count)).round().long().tolist()
    return read_batch(dataset, indices)
