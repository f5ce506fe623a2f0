"""Label maps on their way from a device to the CPU: no more bits a pixel than its class needs."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def fetch(maps: Tensor, classes: int) -> NDArray[np.integer[Any]]:
    """Return label maps (B, N, P) of so many classes on the CPU, contiguous, by a single copy."""
    bits = range((classes - 1).bit_length())
    packed = torch.stack([_pack((maps & (1 << bit)) != 0) for bit in bits]).cpu().numpy()
    planes = np.unpackbits(packed, axis=-1, count=maps.shape[-1], bitorder="little")
    kind = np.uint8 if classes <= 256 else np.int64
    return reduce(np.bitwise_or, (planes[bit].astype(kind, copy=False) << bit for bit in bits))


def _pack(mask: Tensor) -> Tensor:
    """Return booleans (..., P) as bytes (..., ⌈P / 8⌉), the first pixel in the lowest bit."""
    eights = functional.pad(mask.byte(), (0, -mask.shape[-1] % 8)).unflatten(-1, (-1, 8))
    packed: Tensor = eights[..., 0]
    for bit in range(1, 8):
        packed = packed + eights[..., bit] * (1 << bit)
    return packed
