"""How many pixels any two label maps of an image share, by matrix products on a device."""

from __future__ import annotations

import torch
from torch import Tensor

# Float32 counts ones exactly so far, with TF32 as well: that rounds neither 0 nor 1. It is also
# how many pixels of masks are held at a time, 64 MiB.
_PIXELS = 1 << 24


def products(maps: Tensor, classes: int) -> Tensor:
    """Count the pixels of each class that any two label maps of the same image share.

    Args:
        maps: (B, M, P), integers.
        classes: K, background, 0, included.

    Returns:
        (B, K - 1, M, M) int64 for the foreground's classes, on the maps' device, as
        :func:`~probseg.metrics.intersections.intersections` counts them on the CPU.
    """
    count, pixels = maps.shape[1:]
    part = max(1, min(pixels, _PIXELS // count))
    images = max(1, _PIXELS // (count * part))
    with torch.autocast(maps.device.type, enabled=False):  # which would multiply in half precision
        return torch.cat([_shared(some, classes, part) for some in maps.split(images)])


def _shared(maps: Tensor, classes: int, part: int) -> Tensor:
    """Return the counts of a few images, from so many pixels at a time."""
    shared = maps.new_zeros(len(maps), classes - 1, *[maps.shape[1]] * 2, dtype=torch.int64)
    for some in maps.split(part, dim=2):
        for k in range(1, classes):
            mask = (some == k).float()
            shared[:, k - 1] += (mask @ mask.mT).long()
    return shared
