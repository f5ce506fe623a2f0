"""Annotations chosen from those of several annotators: one, a majority vote or a consensus.

All functions allow for images that not everybody annotated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from probseg.errors import DataError, InputError, OptionError
from probseg.interfaces import Batch, Dataset
from probseg.options import did_you_mean, listing, to_plain
from probseg.utils.devices import to_device
from probseg.utils.imports import require
from probseg.utils.tensors import as_classes, has_fractions, within

Annotator = Literal["random", "majority", "staple"] | int
NAMES: tuple[str, ...] = ("random", "majority", "staple")
_ROUNDING = 1e-6  # by which STAPLE's probabilities of ties differ


def annotation(
    batch: Batch,
    annotator: Annotator = "random",
    *,
    generator: Generator | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Return one annotation of each image.

    >>> masks = torch.tensor([[[[0, 1, 1]], [[0, 0, 1]], [[0, 1, 0]]]], dtype=torch.uint8)
    >>> annotation(Batch(torch.zeros(1, 1, 1, 3), masks), "majority")
    tensor([[[0, 1, 1]]], dtype=torch.uint8)

    Args:
        batch: Images with everybody's masks.
        annotator: ``"random"`` (:func:`choose_annotator`), ``"majority"``
            (:func:`majority_vote`), ``"staple"`` (:func:`staple`), or an annotator's number.
        generator: Source of randomness for ``"random"``.
        ignore_index: The value of pixels that nobody labelled.

    Returns:
        (B, H, W) classes, uint8; of soft masks, one of them, or a consensus of the classes nearest
        to them.

    Raises:
        OptionError: There is no such annotator.
        DataError: The annotator of that number did not annotate every image.
        InputError: Soft masks of a consensus hold NaN.
        MissingDependencyError: SimpleITK is not installed, which ``"staple"`` needs.
    """
    check_annotator(annotator, batch.masks.shape[1])
    if annotator == "random":
        return choose_annotator(batch.masks, generator, present=batch.present)
    if annotator in ("majority", "staple"):
        consensus = majority_vote if annotator == "majority" else staple
        return consensus(as_classes(batch.masks), batch.present, ignore_index)
    return _of_one(batch, int(annotator))


def all_annotations(masks: Tensor, present: Tensor | None, ignore_index: int) -> Tensor:
    """Return everybody's masks (B, A, H, W), ``ignore_index`` where somebody is absent.

    >>> masks = torch.zeros(1, 2, 1, 1, dtype=torch.uint8)
    >>> all_annotations(masks, torch.tensor([[True, False]]), 255).flatten().tolist()
    [0, 255]
    """
    if present is None:
        return masks
    absent = to_device(~present, masks.device)[:, :, None, None]
    return masks.masked_fill(absent, ignore_index)


def check_annotator(annotator: object, annotators: int | None = None) -> None:
    """Check the option that chooses an annotation, given the number of annotators if it is known.

    Raises:
        OptionError: It is neither a known name nor an annotator's number.
    """
    annotator = to_plain(annotator)
    number = isinstance(annotator, int) and not isinstance(annotator, bool) and annotator >= 0
    if not number and annotator not in NAMES:
        raise OptionError(
            f"annotator must be one of {listing(NAMES)}, or an annotator's number from 0, "
            f"not {annotator!r}{did_you_mean(annotator, NAMES)}"
        )
    if isinstance(annotator, int) and annotators is not None and annotator >= annotators:
        raise OptionError(
            f"annotator must be 0 to {annotators - 1}, as there are {annotators}, not {annotator}"
        )


def complete(batch: Batch, ignore_index: int | None = None) -> Iterator[Batch]:
    """Cut a batch into batches without missing annotations, in the same order.

    Metrics, which take a full array of annotations, are exact on each of them. The batch is cut
    where the number of annotators changes; annotators keep their order. Whoever labelled no pixel,
    all being ``ignore_index``, is missing.
    """
    present = presence(batch.masks, batch.present)
    if (ignore_index := within(ignore_index, batch.masks.dtype)) is not None:
        present = present & (batch.masks != ignore_index).flatten(2).any(2)
    numbers, lengths = torch.unique_consecutive(present.sum(1), return_counts=True)
    start = 0
    for number, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
        rows = slice(start, start + length)
        masks = batch.masks[rows][present[rows]]
        yield Batch(batch.image[rows], masks.view(length, number, *masks.shape[1:]))
        start += length


def choose_annotator(
    masks: Tensor, generator: Generator | None = None, *, present: Tensor | None = None
) -> Tensor:
    """Choose one annotator for each image, uniformly; an empty mask counts like any other.

    Args:
        masks: (B, A, H, W) classes.
        generator: Source of randomness, on any device.
        present: (B, A) bool, who can be chosen; None for everybody.

    Returns:
        (B, H, W) classes of the same dtype.
    """
    count, annotators = masks.shape[:2]
    device = generator.device if generator is not None else masks.device
    chosen = torch.randint(annotators, (count,), generator=generator, device=device)
    if present is not None and not present.all():  # complete images keep their choice
        who = present.to(device)
        rank = (torch.rand(count, generator=generator, device=device) * who.sum(1)).long()
        among = (who.cumsum(1) > rank[:, None]).int().argmax(1)
        chosen = torch.where(who.all(1), chosen, among)
    return masks[torch.arange(count, device=masks.device), to_device(chosen, masks.device)]


def majority_vote(
    masks: Tensor, present: Tensor | None = None, ignore_index: int | None = None
) -> Tensor:
    """Return the class that most annotators gave each pixel; of ties, the lowest.

    Two of four annotators are thus no majority: such a pixel is background.

    Args:
        masks: (B, A, H, W) classes.
        present: (B, A) bool, who votes; None for everybody.
        ignore_index: The value of pixels that an annotator did not label, who has no vote there.

    Returns:
        (B, H, W) classes of the same dtype; ``ignore_index`` where nobody has a vote.

    Raises:
        InputError: The masks hold values between classes, or NaN.
    """
    _check_whole(masks)
    voters = presence(masks, present)[:, :, None, None]
    if (ignore_index := within(ignore_index, masks.dtype)) is not None:
        voters = voters & (masks != ignore_index)
        undecided = ~voters.any(1)
        masks = masks.where(voters, 0)
    classes = range(int(masks.max()) + 1)
    votes = torch.stack([((masks == one) & voters).sum(1) for one in classes])
    majority = votes.argmax(0).to(masks.dtype)  # the first of ties
    return majority if ignore_index is None else majority.masked_fill(undecided, ignore_index)


def staple(masks: Tensor, present: Tensor | None = None, ignore_index: int | None = None) -> Tensor:
    """Return the consensus that STAPLE estimates, weighing annotators by their performance.

    Each annotator's sensitivity and specificity (or confusion of classes) and the hidden truth are
    estimated by expectation-maximisation, image by image, in some 10 ms each. A pixel that is as
    probably foreground as not, as where two annotators differ, is background.

    Args:
        masks: (B, A, H, W) classes.
        present: (B, A) bool, who counts; None for everybody.
        ignore_index: The value of pixels that an annotator did not label. Pixels that not all of
            an image's annotators labelled get the majority of those who did.

    Returns:
        (B, H, W) classes of the same dtype and device.

    Raises:
        InputError: The masks hold values between classes, or NaN.
        MissingDependencyError: SimpleITK is not installed.

    References:
        Warfield, Zou and Wells, Simultaneous truth and performance level estimation (STAPLE),
        IEEE Transactions on Medical Imaging 23(7), 2004.
    """
    _check_whole(masks)
    who = presence(masks, present).cpu().numpy()
    images = zip(masks.cpu().numpy(), who, strict=True)
    labels = np.stack([_consensus(every[annotated], ignore_index) for every, annotated in images])
    return torch.from_numpy(labels).to(masks.device, masks.dtype)


def presence(masks: Tensor, present: Tensor | None) -> Tensor:
    """Return who annotated what, (B, A) bool, where the masks are; None means everybody."""
    if present is not None:
        return present.to(masks.device)  # a batch in training keeps it on the CPU
    return torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device)


def annotator_names(dataset: Dataset) -> list[str]:
    """Return the annotators' names in the order of the masks, or numbers if they have no names."""
    names = getattr(dataset, "source_state", {}).get("annotators", ())
    named = len(names) == dataset.annotators
    return [str(name) for name in (names if named else range(dataset.annotators))]


def _check_whole(masks: Tensor) -> None:
    if has_fractions(masks):
        raise InputError(
            "masks must hold classes, and these hold values between them, or NaN; turn soft ones "
            "into classes first, for example with (masks > 0.5).byte()"
        )


def _of_one(batch: Batch, number: int) -> Tensor:
    absent = ~presence(batch.masks, batch.present)[:, number]
    if absent.any():
        raise DataError(
            f"annotator {number} left out {int(absent.sum())} of {len(absent)} images; leave them "
            'out as well (probseg.datasets.views.subset), or use "random", "majority" or "staple"'
        )
    return batch.masks[:, number]


def _consensus(masks: NDArray[np.uint8], ignore_index: int | None) -> NDArray[np.uint8]:
    """Return the labels (H, W) of the masks (A, H, W) of one image."""
    by_all = (masks != ignore_index).all(0)
    if ignore_index is None or by_all.all():
        return _staple(masks)
    votes = majority_vote(torch.from_numpy(masks)[None], ignore_index=ignore_index)
    labels: NDArray[np.uint8] = votes[0].numpy()
    if by_all.any():  # each pixel counts by itself, so any of them make an image
        labels[by_all] = _staple(masks[:, by_all][:, None])[0]
    return labels


def _staple(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return STAPLE's labels (H, W) of masks (A, H, W)."""
    first: NDArray[np.uint8] = masks[0]
    if (masks == first).all():  # one annotator or agreement: performance is undefined
        return first
    itk = require("SimpleITK", extra="data", for_="the annotator 'staple'")
    volumes = [itk.GetImageFromArray(mask) for mask in masks]
    if masks.max() == 1:
        consensus = itk.STAPLE(volumes, 1.0) > 0.5 + _ROUNDING
    else:
        consensus = itk.MultiLabelSTAPLE(volumes, 0)  # background where undecided
    label: NDArray[np.uint8] = itk.GetArrayFromImage(consensus)
    return label
