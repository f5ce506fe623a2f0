"""The cross-entropy of a segmentation, on one of two scales."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from probseg.errors import OptionError
from probseg.layers import in_single_precision
from probseg.options import did_you_mean

REDUCTIONS = ("pixel-sum", "pixel-mean")


class CrossEntropy:
    """The cross-entropy of logits and labels, averaged over the batch.

    Args:
        reduction: Over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.

    Raises:
        OptionError: There is no such reduction.
    """

    def __init__(self, reduction: str) -> None:
        if reduction not in REDUCTIONS:
            raise OptionError(
                f"no reduction is called {reduction!r}{did_you_mean(reduction, REDUCTIONS)}; "
                f"known: {', '.join(REDUCTIONS)}"
            )
        self.reduction = reduction

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar of logits (B, K, H, W) and a label (B, H, W)."""
        per_pixel = cross_entropies(logits, label)
        if self.reduction == "pixel-mean":
            return per_pixel.mean()
        return per_pixel.sum(dim=(1, 2)).mean()


def cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, in at least single precision.

    A label that is no class makes it NaN. In torch's own it asserts on a GPU, after which nothing
    runs there any more, or is left out (-100).

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) classes, int64.

    Returns:
        (B, H, W), nats.
    """
    logits = in_single_precision(logits)
    known = label.clamp(0, logits.shape[1] - 1)
    found = functional.cross_entropy(logits, known, reduction="none")
    return torch.where(known == label, found, torch.nan)
