"""The cross-entropy of a segmentation, on one of two scales."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from probseg.options import check_choice
from probseg.utils.tensors import in_single_precision

REDUCTIONS = ("pixel-sum", "pixel-mean")


class CrossEntropy:
    """The cross-entropy of logits and labels, averaged over the batch.

    Args:
        reduction: Over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.

    Raises:
        OptionError: There is no such reduction.
    """

    def __init__(self, reduction: str) -> None:
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar of logits (B, K, H, W) and a label (B, H, W)."""
        per_pixel = cross_entropies(logits, label)
        if self.reduction == "pixel-mean":
            return per_pixel.mean()
        return per_pixel.sum(dim=(1, 2)).mean()


def cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, in at least single precision.

    Where the label is no class, the result is NaN. torch's own function asserts on a GPU, which the
    process can then use no more, or leaves the pixel out (-100).

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) classes, int64.

    Returns:
        (B, H, W), nats.
    """
    logits = in_single_precision(logits)
    valid = label.clamp(0, logits.shape[1] - 1)
    per_pixel = functional.cross_entropy(logits, valid, reduction="none")
    return torch.where(valid == label, per_pixel, torch.nan)
