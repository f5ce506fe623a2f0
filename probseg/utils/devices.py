"""Copies to devices, float64 and label maps there, and tensors a few images at a time.

One rule holds for whatever a metric returns: it is float64, on the device of its input, or on the
CPU where that device has no float64, as Apple's GPUs do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_WITHOUT_FLOAT64 = ("mps",)  # types of devices
# An image of 16 samples, two classes and 128 x 128 pixels. Beyond it temporary tensors leave the
# cache, and malloc gives them back to the system after every use.
_CPU_CHUNK = 2 << 20  # bytes
_DEVICE_CHUNK = 64 << 20  # bytes: enough to keep a GPU busy; float64 takes several times as much


def float64_device(device: torch.device) -> torch.device:
    """Return the device itself, or the CPU where it has no float64."""
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


def to_float64(tensor: Tensor) -> Tensor:
    """Return a tensor in float64, on :func:`float64_device`."""
    return tensor.to(float64_device(tensor.device)).double()  # MPS refuses both in one call


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the host waits for the copy only where it must.

    A copy to a CUDA device has read the memory when the call returns. A copy back to the CPU could
    be read before it has arrived, and MPS may read memory that is freed by then
    (https://github.com/pytorch/pytorch/issues/83015).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def chunks(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield tensors of the same images a few images at a time, more of them off the CPU.

    So what is computed from a chunk stays in the cache, or in the memory of the device. The first
    tensor has to be the largest.
    """
    most = _CPU_CHUNK if first.device.type == "cpu" else _DEVICE_CHUNK
    images = max(1, most // first[0].nbytes)
    return zip(*(torch.split(tensor, images) for tensor in (first, *others)), strict=True)


def float64_chunks(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same chunks, on the CPU where their device has no float64."""
    for chunk in chunks(first, *others):
        yield tuple(tensor.to(float64_device(tensor.device)) for tensor in chunk)


def fetch_label_maps(maps: Tensor, classes: int) -> NDArray[np.integer[Any]]:
    """Return label maps (B, N, P) on the CPU, contiguous, after one copy of their used bits only.

    A class takes ⌈log₂ K⌉ bits on the way, not the eight or 64 of its type.
    """
    bits = range((classes - 1).bit_length())
    packed = torch.stack([_pack_bits((maps & (1 << bit)) != 0) for bit in bits]).cpu().numpy()
    planes = np.unpackbits(packed, axis=-1, count=maps.shape[-1], bitorder="little")
    dtype = np.uint8 if classes <= 256 else np.int64
    return reduce(np.bitwise_or, (planes[bit].astype(dtype, copy=False) << bit for bit in bits))


def _pack_bits(mask: Tensor) -> Tensor:
    """Return booleans (..., P) as bytes (..., ⌈P / 8⌉), the first pixel in the lowest bit."""
    eights = functional.pad(mask.byte(), (0, -mask.shape[-1] % 8)).unflatten(-1, (-1, 8))
    packed: Tensor = eights[..., 0]
    for bit in range(1, 8):
        packed = packed + eights[..., bit] * (1 << bit)
    return packed
