"""How far annotators agree, image by image."""

from __future__ import annotations

import torch
from torch import Tensor

FAR, CLOSE = 0.1, 0.5  # IoU with the others, and among the others, of somebody who stands apart


def pairwise_iou(masks: Tensor, classes: int) -> Tensor:
    """Return the IoU of every two annotators, (B, A, A), NaN where both masks are empty.

    A pixel is shared where both have the same class other than the background.

    Args:
        masks: (B, A, H, W) classes.
        classes: How many there are, the background included.
    """
    flat = masks.flatten(2)
    drawn = (flat > 0).float()
    area = drawn.sum(2)
    shared = sum((_overlap((flat == k).float()) for k in range(1, classes)), torch.zeros(()))
    return shared / (area[:, :, None] + area[:, None, :] - _overlap(drawn))


def _overlap(regions: Tensor) -> Tensor:
    return regions @ regions.mT


def mean_over_pairs(iou: Tensor, present: Tensor, *, both_empty: float) -> Tensor:
    """Return each image's mean over pairs of annotators, (B,), NaN where it has no pair.

    Args:
        iou: (B, A, A), as :func:`pairwise_iou` gives it.
        present: (B, A) bool, who annotated.
        both_empty: What two empty masks score; NaN leaves such pairs out.
    """
    pairs = (present[:, :, None] & present[:, None, :]).triu(1)
    values = iou.nan_to_num(both_empty).where(pairs, torch.nan)
    return values.nanmean((1, 2))


def with_others(iou: Tensor, present: Tensor) -> Tensor:
    """Return each annotator's mean IoU with the others, (B, A), both empty left out."""
    return _without_oneself(iou, present).nanmean(2)


def stands_apart(iou: Tensor, drew: Tensor) -> Tensor:
    """Return who drew something that hardly meets what the others agree on, (B, A) bool.

    Args:
        iou: (B, A, A), as :func:`pairwise_iou` gives it.
        drew: (B, A) bool, whose mask is not empty; an empty one is an opinion, not a slip.
    """
    values = _without_oneself(iou, drew)
    totals, counts = values.nansum(2), values.isfinite().sum(2)
    others_total = totals.sum(1, keepdim=True) - 2 * totals
    others_count = counts.sum(1, keepdim=True) - 2 * counts
    return (totals / counts < FAR) & (others_total / others_count > CLOSE)


def _without_oneself(iou: Tensor, of: Tensor) -> Tensor:
    """Return the IoU of pairs in ``of`` (B, A), and NaN for others and with oneself."""
    oneself = torch.eye(iou.shape[1], dtype=torch.bool)
    return iou.where(of[:, :, None] & of[:, None, :] & ~oneself, torch.nan)
