"""A few images at a time, so that what is computed of them stays in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# An image of 16 samples, two classes and 128 x 128 pixels. Beyond it temporary tensors leave the
# cache, and malloc gives them back to the system after every use.
_CACHED = 2 << 20  # bytes


def pieces(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield tensors of the same images a few images at a time; off the CPU, all at once.

    Args:
        first: The largest, images first.
        *others: More of the same images.
    """
    images = len(first)
    if first.device.type == "cpu":
        images = max(1, _CACHED // first[0].nbytes)
    return zip(*(torch.split(tensor, images) for tensor in (first, *others)), strict=True)
