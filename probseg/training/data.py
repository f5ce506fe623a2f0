"""Which images each step sees, and the loaders that Lightning asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from probseg.datasets.batches import check_masks, data_title
from probseg.datasets.formats.mask_values import UNLABELLED
from probseg.datasets.mask_kinds import ignore_index_of, is_soft
from probseg.errors import DataError
from probseg.interfaces import Batch, Dataset
from probseg.training.distributed import Share
from probseg.training.execution import Purpose, make_generator
from probseg.training.settings import TrainingSettings
from probseg.utils.devices import to_device
from probseg.utils.model_inputs import warn_of_scale


class TrainingData(LightningDataModule):
    """Two data sets, with one loader per validation round.

    Lightning calls a validation round an epoch. Which images it holds follows from the number of
    steps taken so far, so a resumed run sees the images that it would have seen.

    Args:
        train: Images to learn from.
        validation: Images to validate on.
        settings: How to train.
        absent: Whether the model needs an ``ignore_index``, to tell who is absent.

    Attributes:
        ignore_index: The value of labels that count for nothing; None if there is none.

    Raises:
        DataError: One of them holds no image, or they have two values to ignore.
    """

    def __init__(
        self,
        train: Dataset,
        validation: Dataset,
        settings: TrainingSettings,
        *,
        absent: bool = False,
    ) -> None:
        super().__init__()
        for dataset in (train, validation):
            if not len(dataset):
                raise DataError(f"data set {data_title(dataset)!r} holds no image to train with")
        self.train = train
        self.validation = validation
        self.settings = settings
        needed = absent or settings.augment == "ignore-outside"
        self.ignore_index = _ignore_index((train, validation), needed=needed)
        self.steps_per_validation = settings.validate_every or -(-len(train) // settings.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Load the images of the validation round that begins at the trainer's step."""
        if self.trainer is None:
            raise RuntimeError("the loader depends on a trainer's step; pass this to Trainer.fit")
        start = self.trainer.global_step
        steps = range(start, min(start + self.steps_per_validation, self.settings.max_steps))
        return _make_loader(self.train, [self.batch_indices(step) for step in steps])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Load every validation image once, always in the same batches, in turn by processes."""
        indices, size = range(len(self.validation)), self.settings.batch_size
        starts = (number * size for number in self.validation_batches)
        return _make_loader(self.validation, [list(indices[s : s + size]) for s in starts])

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move images and masks. ``present`` stays on the CPU, where annotators are drawn."""
        image, masks = (to_device(part, device) for part in batch[:2])
        return Batch(image, masks, batch.present)

    @property
    def validation_batches(self) -> list[int]:
        """The numbers of the validation batches that this process takes."""
        count = -(-len(self.validation) // self.settings.batch_size)
        return Share.of(self.trainer).batches(count)

    def batch_indices(self, step: int) -> list[int]:
        """Return the indices of the training images of a step.

        Batches of equal size are cut from an endless sequence of seeded permutations.
        """
        count, size, seed = len(self.train), self.settings.batch_size, self.settings.seed
        positions = range(step * size, (step + 1) * size)
        return [int(_permutation(seed, count, at // count)[at % count]) for at in positions]


def _ignore_index(datasets: Sequence[Dataset], *, needed: bool) -> int | None:
    values = sorted({value for one in datasets if (value := ignore_index_of(one)) is not None})
    if len(values) > 1:
        raise DataError(
            f"two data sets must have one ignore_index, not {values[0]} and {values[1]}"
        )
    if values or not needed:
        return next(iter(values), None)
    if datasets[0].classes > UNLABELLED:
        raise DataError(
            f"there can be {UNLABELLED} classes at most with augment='ignore-outside', or a model "
            "that learns from all annotators at once"
        )
    return UNLABELLED


@lru_cache(maxsize=2)  # a batch touches one permutation, or the end of one and the next one's start
def _permutation(seed: int, count: int, number: int) -> Tensor:
    return torch.randperm(count, generator=make_generator(seed, Purpose.ORDER, number))


def _make_loader(dataset: Dataset, batches: Sequence[list[int]]) -> DataLoader[Batch]:
    """Load in this process: one vectorised read is quicker than to pass a batch between two."""
    told: list[bool] = []

    def check(batch: Any) -> Batch:
        _check_batch(batch, dataset)
        if not told:  # of the first batch only, as it takes another look at all values
            norm = float(torch.linalg.vector_norm(batch.image, dtype=torch.float64))
            warn_of_scale(
                norm / math.sqrt(batch.image.numel()), f"data set {data_title(dataset)!r}"
            )
            told.append(True)
        image, masks, present = Batch(*batch)
        whole = masks.is_floating_point() and not is_soft(dataset)
        return Batch(image.float(), masks.long() if whole else masks, present)

    return DataLoader(
        _Batches(dataset),  # type: ignore[arg-type]  # has the methods, not the base class
        batch_sampler=batches,
        collate_fn=check,
        pin_memory=torch.cuda.is_available(),
    )


class _Batches:
    """A data set as torch's loader reads it, a batch at a time and not sample by sample."""

    def __init__(self, dataset: Dataset) -> None:
        self.__getitems__ = dataset.batch

    def __len__(self) -> int:
        raise TypeError("batches are chosen by their indices")


def _check_batch(batch: Batch, dataset: Dataset) -> None:
    """Check the values on the CPU, where that does not wait for a device."""
    if batch.image.ndim != 4 or not batch.image.is_floating_point():
        raise DataError(
            f"data set {data_title(dataset)!r} must give images (B, C, H, W) of floating point, "
            f"not {tuple(batch.image.shape)} of {batch.image.dtype}; scale whole numbers to "
            "[0, 1], for example image.float() / 255, and give a volume slice by slice"
        )
    if not bool(batch.image.isfinite().all()):
        raise DataError(
            f"an image of data set {data_title(dataset)!r} holds NaN or infinity; "
            "repair the file, or replace such pixels when it is read"
        )
    if batch.present is not None and not bool(batch.present.any(dim=1).all()):
        raise DataError(
            f"nobody annotated an image of data set {data_title(dataset)!r}; "
            "leave it out: probseg.datasets.views.subset"
        )
    check_masks(batch, dataset)
