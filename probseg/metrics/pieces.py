"""A few images at a time, so that what is computed of them stays in the cache or the memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from probseg.metrics.precision import float64_device

# An image of 16 samples, two classes and 128 x 128 pixels. Beyond it temporary tensors leave the
# cache, and malloc gives them back to the system after every use.
_CACHED = 2 << 20  # bytes
_DEVICE = 64 << 20  # bytes: enough to keep a GPU busy; float64 temporaries are several times that


def pieces(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield tensors of the same images a few images at a time, more of them off the CPU.

    Args:
        first: The largest, images first.
        *others: More of the same images.
    """
    most = _CACHED if first.device.type == "cpu" else _DEVICE
    images = max(1, most // first[0].nbytes)
    return zip(*(torch.split(tensor, images) for tensor in (first, *others)), strict=True)


def float64_pieces(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same on the CPU where their device has no float64."""
    for piece in pieces(first, *others):
        yield tuple(tensor.to(float64_device(tensor.device)) for tensor in piece)
