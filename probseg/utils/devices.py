"""Copies to devices, float64 and label maps there, and tensors a few images at a time.

One rule holds for whatever a metric returns: it is float64, on the device of its input, or on the
CPU where that device has no float64, as Apple's GPUs do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from probseg.errors import OptionError
from probseg.options import did_you_mean

_WITHOUT_FLOAT64 = ("mps",)  # types of devices
# An image of 16 samples, two classes and 128 x 128 pixels. Beyond it temporary tensors leave the
# cache, and malloc gives them back to the system after every use.
_CPU_CHUNK = 2 << 20  # bytes
_DEVICE_CHUNK = 64 << 20  # bytes: enough to keep a GPU busy; float64 takes several times as much


def choose_device(name: str, count: int = 1) -> torch.device:
    """Return the device that a name means here: "auto" is a CUDA GPU where there is one.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1" or "mps".
        count: How many of that kind are needed.

    Raises:
        OptionError: It is no device, or not on this machine.
    """
    check_device_name(name)
    cuda = torch.cuda.is_available()
    device = torch.device(("cuda" if cuda else "cpu") if name == "auto" else name)
    present = {"cpu": count, "cuda": torch.cuda.device_count() if cuda else 0}
    present["mps"] = int(torch.backends.mps.is_available())
    if (device.index or 0) + count > present[device.type]:
        many = f"{count} of " if count > 1 else ""
        raise OptionError(
            f"{many}device {name!r} is not on this machine, which has "
            f"{present['cuda']} CUDA device(s){_why_no_cuda(device)}; ask for 'auto' or 'cpu'"
        )
    return device


def check_device_name(name: object) -> None:
    """Check the name of a device, without asking whether it is here.

    Raises:
        OptionError: There is no such kind of device.
    """
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        hint = did_you_mean(name, ["auto", "cpu", "cuda", "mps"])
        raise OptionError(
            f"device must be 'auto', 'cpu', 'cuda', 'cuda:<number>' or 'mps', not {name!r}{hint}"
        )


def _why_no_cuda(device: torch.device) -> str:
    """Return torch's reason for not using CUDA: no driver, one too old, built without."""
    if device.type != "cuda" or torch.cuda.is_available():
        return ""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f" ({str(error).splitlines()[0].rstrip('.')})"
    return ""


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
