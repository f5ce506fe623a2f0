"""A survey of a data set, read once in batches: its masks, its annotators, suspicious samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from probseg.datasets.annotators import presence
from probseg.datasets.cache.source import chunked
from probseg.interfaces import Batch, Dataset

_BATCH = 64
_FAR, _CLOSE = (
    0.1,
    0.5,
)  # IoU with the others, and among the others, of an annotator who stands apart
_ELSEWHERE = "the same image in another group: a split may leak"
_AGAIN = "the same image again in its group"


class Measures(NamedTuple):
    """The measures of each image, which are kept when its batch is gone."""

    present: Tensor  # (B, A) bool, who annotated
    empty: Tensor  # (B, A) bool, who annotated and marked nothing
    area: Tensor  # (B, A), share of the image
    border: Tensor  # (B, A) bool, whose mask touches the border
    apart: Tensor  # (B, A) bool, who is far from the others, who agree
    iou_others: Tensor  # (B, A), mean with the others
    iou: Tensor  # (B,), mean over pairs, both empty = 1
    iou_drawn: Tensor  # (B,), mean over pairs without those of two empty masks
    lowest: Tensor  # (B,) intensity
    highest: Tensor  # (B,) intensity
    finite: Tensor  # (B,) bool
    declared: Tensor  # (B,) bool, whether the data set declares every class in the masks


@dataclass(frozen=True)
class Survey:
    """What a data set holds, and which of its samples are damaged or look wrong."""

    dataset: Dataset
    size: tuple[int, int]  # height and width
    measures: Measures  # of all images
    suspicious: dict[str, list[int]]  # what looks wrong, and the samples' indices
    damaged: dict[str, list[int]]


def survey(dataset: Dataset, advance: Callable[[int], None] = lambda count: None) -> Survey:
    """Read a data set once; ``advance`` gets the number of images of each batch that is done."""
    parts, digests = [], []
    for indices in chunked(range(len(dataset)), _BATCH):
        batch = dataset.batch(indices)
        parts.append(measure(batch, dataset.classes))
        images = [image.contiguous().numpy().tobytes() for image in batch.image]
        digests += [hashlib.blake2b(image, digest_size=16).digest() for image in images]
        advance(len(batch.image))
    measures = Measures(*map(torch.cat, zip(*parts, strict=True)))
    height, width = batch.image.shape[2:]
    return Survey(
        dataset=dataset,
        size=(height, width),
        measures=measures,
        suspicious=_suspicious(measures) | duplicates(digests, dataset.groups),
        damaged=_indices(
            {
                "NaN or infinity in the image": ~measures.finite,
                f"a class beyond the declared {dataset.classes}": ~measures.declared,
            }
        ),
    )


def measure(batch: Batch, classes: int) -> Measures:
    """Measure each image of a batch."""
    image, masks = batch.image, batch.masks
    present = presence(masks, batch.present)
    iou, foreground = pairwise_iou(masks, classes), masks > 0
    empty = ~foreground.flatten(2).any(2)
    shared = iou if classes == 2 else shared_pixels(masks, classes)
    edges = (foreground[..., 0, :], foreground[..., -1, :], foreground[..., 0], foreground[..., -1])
    return Measures(
        present=present,
        empty=present & empty,
        area=foreground.float().mean((2, 3)),
        border=torch.stack([edge.any(2) for edge in edges]).any(0),
        apart=stands_apart(shared, present & ~empty),
        iou_others=with_others(iou, present),
        iou=mean_over_pairs(iou, present, both_empty=1.0),
        iou_drawn=mean_over_pairs(iou, present, both_empty=torch.nan),
        lowest=image.amin((1, 2, 3)),
        highest=image.amax((1, 2, 3)),
        finite=image.isfinite().flatten(1).all(1),
        declared=(masks < classes).flatten(1).all(1),
    )


def duplicates(digests: Sequence[bytes], groups: Sequence[str]) -> dict[str, list[int]]:
    """Return the samples whose image occurs more than once, in one group or in several."""
    groups_of: dict[bytes, list[str]] = {}
    for key, group in zip(digests, groups, strict=True):
        groups_of.setdefault(key, []).append(group)
    repeated: dict[str, list[int]] = {}
    for index, key in enumerate(digests):
        if len(groups_of[key]) > 1:
            shared = len(set(groups_of[key])) > 1
            repeated.setdefault(_ELSEWHERE if shared else _AGAIN, []).append(index)
    return repeated


def _suspicious(measures: Measures) -> dict[str, list[int]]:
    nobody = ~measures.present.any(1)
    return _indices(
        {
            "nobody annotated it": nobody,
            "every mask is empty": (measures.empty == measures.present).all(1) & ~nobody,
            "a constant image": measures.lowest == measures.highest,
            "an annotator far from the others, who agree": measures.apart.any(1),
            "a mask covers the whole image": (measures.area == 1).any(1),
            "a mask touches the border": measures.border.any(1),
        }
    )


def _indices(where: dict[str, Tensor]) -> dict[str, list[int]]:
    return {what: mask.nonzero()[:, 0].tolist() for what, mask in where.items() if mask.any()}


def pairwise_iou(masks: Tensor, classes: int) -> Tensor:
    """Return the IoU of every two of masks (B, A, H, W): (B, A, A), NaN where both are empty.

    It is the mean over the foreground classes, 1 for one that neither mask has, as in the metrics
    (:func:`probseg.metrics.kernels.iou_cost`).
    """
    each = torch.stack([_iou((masks == k).flatten(2)) for k in range(1, classes)])
    return each.nan_to_num(1.0).mean(0).where(each.isfinite().any(0), torch.nan)


def _iou(regions: Tensor) -> Tensor:
    """Return the IoU of every two of regions (B, A, P), NaN where both are empty."""
    drawn = regions.float()
    area, shared = drawn.sum(2), drawn @ drawn.mT
    return shared / (area[:, :, None] + area[:, None, :] - shared)


def shared_pixels(masks: Tensor, classes: int) -> Tensor:
    """Return the share of what either of two masks marks that both give the same class, (B, A, A).

    Other than in the mean over classes, one that neither mask has does not count: two masks that
    never meet have 0. Of two classes both are the IoU.
    """
    flat = masks.flatten(2)
    drawn = (flat > 0).float()
    regions = ((flat == k).float() for k in range(1, classes))
    area = drawn.sum(2)
    shared = sum((region @ region.mT for region in regions), torch.zeros(()))
    return shared / (area[:, :, None] + area[:, None, :] - drawn @ drawn.mT)


def mean_over_pairs(iou: Tensor, present: Tensor, *, both_empty: float) -> Tensor:
    """Return each image's mean IoU over pairs of annotators, (B,), NaN where it has no pair.

    Two empty masks score ``both_empty``; NaN leaves such pairs out.
    """
    pairs = (present[:, :, None] & present[:, None, :]).triu(1)
    values = iou.nan_to_num(both_empty).where(pairs, torch.nan)
    return values.nanmean((1, 2))


def with_others(iou: Tensor, present: Tensor) -> Tensor:
    """Return each annotator's mean IoU with the others, (B, A), both empty left out."""
    return _of_others(iou, present).nanmean(2)


def stands_apart(shared: Tensor, drew: Tensor) -> Tensor:
    """Return whose mask hardly meets what the others agree on, (B, A) bool.

    ``shared`` (B, A, A) is :func:`shared_pixels`; ``drew`` (B, A) says whose mask is not empty, as
    an empty one is an opinion, not a mistake.
    """
    values = _of_others(shared, drew)
    totals, counts = values.nansum(2), values.isfinite().sum(2)
    others_total = totals.sum(1, keepdim=True) - 2 * totals
    others_count = counts.sum(1, keepdim=True) - 2 * counts
    return (totals / counts < _FAR) & (others_total / others_count > _CLOSE)


def _of_others(iou: Tensor, chosen: Tensor) -> Tensor:
    """Return the IoU of pairs of two annotators in ``chosen`` (B, A), and NaN elsewhere."""
    same = torch.eye(iou.shape[1], dtype=torch.bool)
    return iou.where(chosen[:, :, None] & chosen[:, None, :] & ~same, torch.nan)
