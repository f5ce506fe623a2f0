"""Float64, which Apple's GPUs do not have.

One rule holds for whatever a metric returns: it is float64 and lies on the device of what was
given, or on the CPU where that device has no float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SINGLE = ("mps",)  # types of devices that refuse float64


def float64_device(device: torch.device) -> torch.device:
    """Return the device itself, or the CPU where it has no float64."""
    return torch.device("cpu") if device.type in _SINGLE else device


def to_float64(tensor: Tensor) -> Tensor:
    """Return a tensor in float64, on :func:`float64_device`."""
    return tensor.to(float64_device(tensor.device)).double()  # together MPS refuses them
