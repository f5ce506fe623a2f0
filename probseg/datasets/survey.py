"""A survey of a data set, read once in batches: its masks, its annotators, suspicious samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probseg.datasets.annotators import presence
from probseg.datasets.cache.source import chunked
from probseg.datasets.findings import Finding, Measures, find
from probseg.datasets.mask_kinds import ignore_index_of
from probseg.interfaces import Batch, Dataset
from probseg.utils.tensors import as_classes

_BATCH = 64
_FAR, _CLOSE = 0.1, 0.5  # IoU with the others, and among the others, of who stands apart
_NEARLY_ALL = 0.9  # of a border
_FLATTENED = 0.25  # of the range, in which 99 % of the pixels lie


@dataclass(frozen=True)
class Survey:
    """What a data set holds, and which of its samples are damaged or look wrong."""

    dataset: Dataset
    size: tuple[int, int]  # height and width
    measures: Measures  # of all images
    findings: list[Finding]
    damaged: dict[str, list[int]]  # what is wrong, and the samples' indices

    @property
    def sound(self) -> bool:
        """Whether nothing was found by which a model would learn, or be scored, wrongly."""
        return not self.damaged and not any(finding.wrong for finding in self.findings)


def survey(dataset: Dataset, advance: Callable[[int], None] = lambda count: None) -> Survey:
    """Read a data set once; ``advance`` gets the number of images of each batch that is done."""
    parts, digests = [], []
    for indices in chunked(range(len(dataset)), _BATCH):
        batch = dataset.batch(indices)
        parts.append(measure(batch, dataset.classes, ignore_index_of(dataset)))
        images = [image.contiguous().numpy().tobytes() for image in batch.image]
        digests += [hashlib.blake2b(image, digest_size=16).digest() for image in images]
        advance(len(batch.image))
    measures = Measures(*map(torch.cat, zip(*parts, strict=True)))
    height, width = batch.image.shape[2:]
    return Survey(
        dataset=dataset,
        size=(height, width),
        measures=measures,
        findings=find(dataset, measures, digests),
        damaged=_indices(
            {
                "NaN or infinity in the image": ~measures.finite,
                f"a class beyond the declared {dataset.classes}": ~measures.declared,
            }
        ),
    )


def measure(batch: Batch, classes: int, ignore_index: int | None = None) -> Measures:
    """Measure each image of a batch; soft masks as the nearest classes."""
    image, masks = batch.image, as_classes(batch.masks)
    present = presence(masks, batch.present)
    labelled = None if ignore_index is None else masks != ignore_index
    masks = masks if labelled is None else masks.where(labelled, 0)
    share = torch.ones(masks.shape[:2]) if labelled is None else labelled.float().mean((2, 3))
    iou, foreground = pairwise_iou(masks, classes, labelled), masks > 0
    empty = ~foreground.flatten(2).any(2)
    shared = iou if classes == 2 else shared_pixels(masks, classes, labelled)
    edges = (foreground[..., 0, :], foreground[..., -1, :], foreground[..., 0], foreground[..., -1])
    area = foreground.float().mean((2, 3)) / share.where(share > 0, 1)
    own = torch.eye(masks.shape[1], dtype=torch.bool)
    return Measures(
        present=present,
        empty=present & empty,
        area=area,
        pixels=foreground.sum((2, 3)),
        inverted=(area > 0.5) & (area < 1) & (torch.cat(edges, 2).float().mean(2) >= _NEARLY_ALL),
        identical=(iou == 1) & present[:, :, None] & present[:, None, :] & ~own,
        classes=torch.stack([(masks == k).flatten(2).any(2) for k in range(classes)], 2),
        apart=stands_apart(shared, present & ~empty),
        iou_others=with_others(iou, present),
        iou=mean_over_pairs(iou, present, both_empty=1.0),
        iou_drawn=mean_over_pairs(iou, present, both_empty=torch.nan),
        lowest=image.amin((1, 2, 3)),
        highest=image.amax((1, 2, 3)),
        flattened=flattened(image),
        finite=image.isfinite().flatten(1).all(1),
        declared=(masks < classes).flatten(1).all(1),
        labelled=share,
    )


def flattened(image: Tensor) -> Tensor:
    """Return whose few extreme pixels leave little contrast to all others, (B,) bool.

    In some channel, all but the 0.5 % lowest and highest pixels (one at least) lie within a quarter
    of the range, so that ``normalise="percentiles"`` gives them four times the contrast.
    """
    ordered = image.flatten(2).sort(2).values
    pixels = ordered.shape[2]
    few = max(1, pixels // 200)
    if pixels <= 2 * few:
        return torch.zeros(len(image), dtype=torch.bool)
    most = ordered[..., -1 - few] - ordered[..., few]
    whole = ordered[..., -1] - ordered[..., 0]
    return ((most > 0) & (most < _FLATTENED * whole)).any(1)


def _indices(where: dict[str, Tensor]) -> dict[str, list[int]]:
    return {what: mask.nonzero()[:, 0].tolist() for what, mask in where.items() if mask.any()}


def pairwise_iou(masks: Tensor, classes: int, labelled: Tensor | None = None) -> Tensor:
    """Return the IoU of every two of masks (B, A, H, W): (B, A, A), NaN where both are empty.

    It is the mean over the foreground classes, 1 for one that neither mask has, as in the metrics
    (:func:`probseg.metrics.kernels.iou_cost`). Pixels that one of the two did not label, where
    ``labelled`` (B, A, H, W) is false, are left out.
    """
    each = torch.stack([_iou(masks == k, masks == k, labelled) for k in range(1, classes)])
    return each.nan_to_num(1.0).mean(0).where(each.isfinite().any(0), torch.nan)


def shared_pixels(masks: Tensor, classes: int, labelled: Tensor | None = None) -> Tensor:
    """Return the share of what either of two masks marks that both give the same class, (B, A, A).

    Other than in the mean over classes, one that neither mask has does not count: two masks that
    never meet have 0. Of two classes both are the IoU.
    """
    regions = torch.cat([masks == k for k in range(1, classes)], 2)  # one below the other
    return _iou(masks > 0, regions, labelled)


def _iou(drawn: Tensor, regions: Tensor, labelled: Tensor | None) -> Tensor:
    """Return what regions of two masks share, as a part of what either draws, (B, A, A)."""
    flat, parts = (one.flatten(2).float() for one in (drawn, regions))
    area = flat.sum(2)[:, :, None]
    if labelled is not None:  # of the row's mask, as far as the column's annotator labelled
        area = flat @ labelled.flatten(2).float().mT
    return (parts @ parts.mT) / (area + area.mT - flat @ flat.mT)


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
