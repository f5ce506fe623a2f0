"""The soft Jaccard distance between samples and annotations, for all pairs of an image at once."""

from __future__ import annotations

import torch
from torch import Tensor

from probseg.set_losses.pairwise import l1_distances
from probseg.utils.tensors import IGNORED, in_single_precision


def to_annotations(samples: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the distances (B, S, A) of samples to annotations, and the weights (B, A).

    .. math:: d(u, v) = 1 - \frac{|u| + |v| - |u - v|_1 + 1}{|u| + |v| + |u - v|_1 + 1}

    of each class but the background, averaged over these. It is one minus the IoU of two binary
    masks but for the ones, which make two empty masks equal, and zero of two equal soft ones.

    Args:
        samples: (S, B, K, H, W) probabilities.
        masks: (B, A, H, W) classes; ``IGNORED`` where an annotator did not label. The pair is then
            compared on the other pixels.

    Returns:
        The distances are NaN to an annotation with another value that is no class. The weights are
        equal for those who labelled a pixel of the image and sum to one; all are zero where nobody
        did.
    """
    u = _foreground(samples)
    v, labelled = _annotated(masks, len(u) + 1, u.dtype)
    size = u @ labelled.mT + v.sum(-1)[:, :, None]
    # v is zero or one, so that |u - v| = u + v - 2 u v
    return _distance(size, size - 2 * u @ v.mT).mean(0), _shares(labelled)


def between_annotations(masks: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return the distances (B, A, A) between masks (B, A, H, W), on pixels that both labelled."""
    v, labelled = _annotated(masks, classes, dtype)
    area = v @ labelled.mT
    size = area + area.mT
    return _distance(size, size - 2 * v @ v.mT).mean(0)


def to_each_other(samples: Tensor, masks: Tensor) -> Tensor:
    """Return the distances (B, S, S) between samples, the mean over who is there.

    Of each annotator they are those on the pixels that he or she labelled, as the distances of
    samples to annotations are. Otherwise a score of both would not be the lowest of samples that
    are distributed as the annotations. Where all labelled the same pixels, one of them does for
    all; an accelerator is not asked for that, since the answer would be waited for. With its
    gradient it holds a few times the (K - 1) B S P numbers of the samples on P pixels for each
    annotator who is compared.

    Args:
        samples: (S, B, K, H, W) probabilities.
        masks: (B, A, H, W) classes; ``IGNORED`` where an annotator did not label.
    """
    u = _foreground(samples)
    labelled = (masks != IGNORED).flatten(2)
    shares = _shares(labelled.to(u.dtype))
    somebody, there = labelled.any(1, keepdim=True), labelled.any(2, keepdim=True)
    if masks.device.type == "cpu" and bool(((labelled == somebody) | ~there).all()):
        labelled, shares = somebody, shares.sum(1, keepdim=True)
    u = u[:, :, None] * labelled[:, :, None].to(u.dtype)  # (K - 1, B, A, S, P)
    area = u.sum(-1)
    each = _distance(area[..., None] + area[..., None, :], l1_distances(u)).mean(0)
    return (shares[..., None, None] * each).sum(1)


def _shares(labelled: Tensor) -> Tensor:
    """Return the weights (B, A) of annotators, alike for all who labelled a pixel (B, A, P)."""
    there = labelled.amax(2)
    return there / there.sum(1, keepdim=True).clamp_min(1)


def _foreground(samples: Tensor) -> Tensor:
    """Return probabilities (K - 1, B, S, P) of all classes but the background."""
    pixels = in_single_precision(samples[:, :, 1:]).flatten(3)  # (S, B, K - 1, P)
    return pixels.permute(2, 1, 0, 3).contiguous()


def _annotated(masks: Tensor, classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return masks of all classes but the background (K - 1, B, A, P), and of labels (B, A, P).

    The first are NaN at values that are neither a class nor ``IGNORED``, which on an accelerator
    nobody has looked at.
    """
    foreground = torch.arange(1, classes, device=masks.device).view(-1, 1, 1, 1, 1)
    labelled = masks != IGNORED
    no_class = labelled & (masks != masks.clamp(0, classes - 1))
    of_classes = torch.where(no_class, torch.nan, (masks == foreground).to(dtype))
    return of_classes.flatten(3), labelled.flatten(2).to(dtype)


def _distance(size: Tensor, apart: Tensor) -> Tensor:
    """Return the distances of |u| + |v| and |u - v|."""
    return 2 * apart / (size + apart + 1)
