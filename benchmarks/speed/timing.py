"""Timing calls on a device, and the limits of this machine: matrix products and memory traffic."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.jobs import provenance

_MATRIX, _SMALL_MATRIX = 2048, 256
_BYTES, _SMALL_BYTES = 1 << 28, 1 << 20  # more than any cache; less
_ROUNDS = 7
_LONGEST = 5.0  # seconds of a product


def wait(device: str) -> None:
    """Wait until the device has finished all work that it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def mean_seconds(call: Callable[[], Any], calls: int = 1, *, device: str = "cpu") -> float:
    """Return the mean seconds of a call, over several calls before the device is waited for."""
    wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    wait(device)
    return (time.perf_counter() - started) / calls


@dataclass(frozen=True)
class Machine:
    """A machine and its limits."""

    description: dict[str, Any]
    fp32: float  # FLOP/s of matrix products
    bf16: float  # the same; emulated, hundreds of times slower, where the hardware has no bf16
    bandwidth: float  # bytes/s, read and written


def measure_machine(device: str = "cpu", *, small: bool = False) -> Machine:
    """Measure matrix products of 2048 × 2048 and copies of 256 MiB, medians of 7 rounds.

    Products of a type for which that would take minutes are of 256 × 256.
    """
    import torch

    def products(dtype: torch.dtype, size: int) -> float:
        left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(left)
        return 2 * size**3 / _median_seconds(lambda: torch.mm(left, right, out=out), device)

    def rate(dtype: torch.dtype) -> float:
        expected = products(dtype, _SMALL_MATRIX)
        slow = 2 * _MATRIX**3 / expected > _LONGEST
        return expected if small or slow else products(dtype, _MATRIX)

    count = _SMALL_BYTES if small else _BYTES
    source = torch.ones(count // 4, device=device)
    target = torch.empty_like(source)
    copies = 2 * count / _median_seconds(lambda: target.copy_(source), device)
    return Machine(
        provenance.machine(device), rate(torch.float32), rate(torch.bfloat16), bandwidth=copies
    )


def _median_seconds(call: Callable[[], Any], device: str) -> float:
    call()
    return statistics.median(mean_seconds(call, device=device) for _ in range(_ROUNDS))
