"""Frequencies of the modes of AmbiguousShapes among samples."""

from __future__ import annotations

import torch
from torch import Tensor


def mode_frequencies(samples: Tensor, modes: Tensor) -> Tensor:
    r"""Return the share of samples whose nearest mode, by IoU, each mode is.

    Args:
        samples: (N, H, W) classes, 0 or 1.
        modes: (M, H, W) classes, 0 or 1.

    Returns:
        (M,) float64 that sums to one.
    """
    a, b = samples.flatten(1).double(), modes.flatten(1).double()
    both = a @ b.T
    either = a.sum(1, keepdim=True) + b.sum(1) - both
    iou = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return torch.bincount(iou.argmax(1), minlength=len(b)).double() / len(a)
