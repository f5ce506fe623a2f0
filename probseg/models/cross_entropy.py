"""The cross-entropy of a segmentation, on one of two scales."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from probseg.options import check_choice
from probseg.utils.tensors import IGNORED, in_single_precision

REDUCTIONS = ("pixel-sum", "pixel-mean")


class CrossEntropy:
    """The cross-entropy of logits and labels, averaged over the batch.

    Pixels that nobody labelled count for nothing: a sum, or an image's mean, is over the others.

    Args:
        reduction: Over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.

    Raises:
        OptionError: There is no such reduction.
    """

    def __init__(self, reduction: str) -> None:
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar of logits (B, K, H, W) and a label (B, H, W), as `cross_entropies`."""
        per_pixel = cross_entropies(logits, label)
        if self.reduction == "pixel-mean":
            share = _labelled(label).float().mean((1, 2), keepdim=True)
            return (per_pixel / torch.where(share > 0, share, 1)).mean()
        return per_pixel.sum(dim=(1, 2)).mean()


def cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, in at least single precision.

    Where the label is ``IGNORED`` (-100), the result is zero; where it is another value that is no
    class, NaN: torch's own function asserts on a GPU, which the process can then use no more. Of a
    soft label it is the expected cross-entropy, ``−Σ_k p_k log π_k``.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) classes, int64; or soft, (B, K, H, W) probabilities, zero where ignored.

    Returns:
        (B, H, W), nats.
    """
    logits = in_single_precision(logits)
    if label.is_floating_point():
        return functional.cross_entropy(logits, label.to(logits.dtype), reduction="none")
    valid = label.clamp(0, logits.shape[1] - 1)
    per_pixel = functional.cross_entropy(logits, valid, reduction="none")
    others = torch.where(label == IGNORED, torch.zeros_like(per_pixel), torch.nan)
    return torch.where(valid == label, per_pixel, others)


def _labelled(label: Tensor) -> Tensor:
    """Return where somebody labelled, (B, H, W) bool."""
    return label.any(1) if label.is_floating_point() else label != IGNORED
