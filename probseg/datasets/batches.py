"""Batches of a data set, read and checked, and what to call the data set in messages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from probseg.datasets.mask_kinds import ignore_index_of, is_soft
from probseg.datasets.roots import OWN_DATA
from probseg.errors import DataError
from probseg.interfaces import Batch, Dataset
from probseg.utils.tensors import extremes, has_fractions


def data_title(dataset: Dataset) -> str:
    """Return what to call a data set: its name, after that of the folder of somebody's own."""
    _, own, folder = dataset.provenance.partition(OWN_DATA)
    return f"{folder} ({dataset.name})" if own else dataset.name


def read_batch(dataset: Dataset, indices: Sequence[int]) -> Batch:
    """Read a batch of a data set whose masks are as :func:`check_masks` wants them."""
    batch = Batch(*dataset.batch(indices))
    check_masks(batch, dataset)
    return batch


def check_masks(batch: Batch, dataset: Dataset) -> None:
    """Check that masks are (B, A, H, W) and hold what the data set declares.

    That are classes, its value to ignore or, if it is soft, probabilities.

    Raises:
        DataError: They do not.
    """
    title = data_title(dataset)
    _check_axes(batch, dataset.annotators, title)
    masks, ignored = batch.masks, ignore_index_of(dataset)
    if ignored is not None:
        masks = masks.where(masks != ignored, 0)
    for value in extremes(masks).tolist():
        if not 0 <= value <= dataset.classes - 1:  # nor NaN
            raise DataError(
                f"a mask of data set {title!r} holds class {value}, but the data set declares "
                f"{dataset.classes} classes (0 to {dataset.classes - 1}); if nobody labelled these "
                "pixels, say ignore_index = 255 in the data set, and give them 255"
            )
    if not is_soft(dataset) and has_fractions(masks):
        raise DataError(
            f"a mask of data set {title!r} holds values between classes; make them integers, for "
            "example with masks > 0.5, or, to learn probabilities of the second of two classes as "
            "such, say soft = True in the data set"
        )


def _check_axes(batch: Batch, annotators: int, title: str) -> None:
    images, masks = batch.image.shape, batch.masks.shape
    wanted = (images[0], *images[2:]) if len(images) == 4 else (masks[0], *masks[2:])
    if len(masks) != 4 or (masks[0], *masks[2:]) != wanted:
        raise DataError(
            f"the masks of data set {title!r} must be (B, A, H, W), of A annotators, like its "
            f"images {tuple(images)}, not {tuple(masks)}; {_hint(batch.masks)}"
        )
    if masks[1] > annotators:
        raise DataError(
            f"data set {title!r} declares annotators = {annotators}, but its masks (B, A, H, W) "
            f"are {tuple(masks)}; declare {masks[1]} or, if these are one-hot classes, make one "
            "mask of them with masks.argmax(1, keepdim=True)"
        )


def _hint(masks: Tensor) -> str:
    """Return what to do with masks of other axes."""
    if masks.ndim == 3:
        return "of one annotator, add the axis with masks[:, None]"
    if masks.ndim == 5:
        return "of one-hot classes (B, A, K, H, W), make one mask each with masks.argmax(2)"
    return "each annotator gives a mask of the image's size"
