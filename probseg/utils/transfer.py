"""Copies to a device for which the host need not wait."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without a wait where that is safe.

    On the way to a CUDA device the memory has been read when the call returns. What comes back to
    the CPU would be looked at before it is there, and MPS may read memory that is gone by then
    (https://github.com/pytorch/pytorch/issues/83015).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
