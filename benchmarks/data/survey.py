"""A survey of a data set: read once, batch by batch, and summed up."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.data.agreement import mean_over_pairs, pairwise_iou, stands_apart, with_others
from probseg.interfaces import Batch, Dataset

BATCH = 64


class Measures(NamedTuple):
    """What is kept of each image once its batch is gone."""

    present: Tensor  # (B, A) bool, who annotated
    empty: Tensor  # (B, A) bool, who of them found nothing
    area: Tensor  # (B, A), share of the image
    border: Tensor  # (B, A) bool, whose mask touches the border
    apart: Tensor  # (B, A) bool, who stands apart from others who agree
    iou_others: Tensor  # (B, A), mean with the others
    iou: Tensor  # (B,), mean over pairs, both empty = 1
    iou_drawn: Tensor  # (B,), mean over pairs without those of two empty masks
    lowest: Tensor  # (B,) intensity
    highest: Tensor  # (B,) intensity
    finite: Tensor  # (B,) bool
    known: Tensor  # (B,) bool, whether every class is one that the data set declares


@dataclass(frozen=True)
class Survey:
    """What there is in a data set, and which of its samples deserve a look."""

    dataset: Dataset
    size: tuple[int, int]  # height and width
    measures: Measures  # of all images
    suspicious: dict[str, list[int]]  # what to look at, and the samples' indices
    damaged: dict[str, list[int]]

    @property
    def skipped(self) -> Sequence[str]:
        """Names and reasons of samples that could not be read."""
        return getattr(self.dataset, "skipped", ())


def survey(dataset: Dataset, advance: Callable[[int], None] = lambda count: None) -> Survey:
    """Read a data set once, a batch at a time.

    Args:
        dataset: What to read.
        advance: Called with the number of images of every batch that is done.
    """
    parts, digests = [], []
    for start in range(0, len(dataset), BATCH):
        batch = dataset.__getitems__(range(start, min(start + BATCH, len(dataset))))
        parts.append(measure(batch, dataset.classes))
        digests += [digest(image) for image in batch.image]
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
                f"a class beyond the declared {dataset.classes}": ~measures.known,
            }
        ),
    )


def measure(batch: Batch, classes: int) -> Measures:
    """Measure each image of a batch."""
    image, masks, present = batch
    if present is None:
        present = torch.ones(masks.shape[:2], dtype=torch.bool)
    iou, foreground = pairwise_iou(masks, classes), masks > 0
    empty = ~foreground.flatten(2).any(2)
    edges = (foreground[..., 0, :], foreground[..., -1, :], foreground[..., 0], foreground[..., -1])
    return Measures(
        present=present,
        empty=present & empty,
        area=foreground.float().mean((2, 3)),
        border=torch.stack([edge.any(2) for edge in edges]).any(0),
        apart=stands_apart(iou, present & ~empty),
        iou_others=with_others(iou, present),
        iou=mean_over_pairs(iou, present, both_empty=1.0),
        iou_drawn=mean_over_pairs(iou, present, both_empty=torch.nan),
        lowest=image.amin((1, 2, 3)),
        highest=image.amax((1, 2, 3)),
        finite=image.isfinite().flatten(1).all(1),
        known=(masks < classes).flatten(1).all(1),
    )


def digest(image: Tensor) -> bytes:
    """Return a digest that two images share only if they are identical."""
    return hashlib.blake2b(image.contiguous().numpy().tobytes(), digest_size=16).digest()


def duplicates(digests: Sequence[bytes], groups: Sequence[str]) -> dict[str, list[int]]:
    """Return the samples whose image occurs more than once, in one group or in several."""
    times = Counter(digests)
    homes: dict[bytes, set[str]] = {}
    for key, group in zip(digests, groups, strict=True):
        homes.setdefault(key, set()).add(group)
    twice = [index for index, key in enumerate(digests) if times[key] > 1]
    shared = {index for index in twice if len(homes[digests[index]]) > 1}
    found = {
        "the same image in another group: a split may leak": sorted(shared),
        "the same image again in its group": [index for index in twice if index not in shared],
    }
    return {what: indices for what, indices in found.items() if indices}


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


def _indices(found: dict[str, Tensor]) -> dict[str, list[int]]:
    return {what: where.nonzero()[:, 0].tolist() for what, where in found.items() if where.any()}
