"""What this machine can do at best: matrix products and memory traffic, measured."""

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


@dataclass(frozen=True)
class Machine:
    """A machine and its limits."""

    description: dict[str, Any]
    fp32: float  # FLOP/s of matrix products
    bf16: float  # the same; where the hardware has no bf16, of its emulation
    bandwidth: float  # bytes/s, read and written

    def best(self, precision: str) -> float:
        """Return FLOP/s of "fp32" or "bf16"."""
        return self.bf16 if precision == "bf16" else self.fp32


def measure(device: str = "cpu", *, small: bool = False) -> Machine:
    """Measure matrix products of 2048 x 2048 and copies of 256 MiB, medians of 7 rounds."""
    import torch

    size, count = (_SMALL_MATRIX, _SMALL_BYTES) if small else (_MATRIX, _BYTES)
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in "ab")
        out = torch.empty_like(left)
        rates[dtype] = 2 * size**3 / _median(lambda: torch.mm(left, right, out=out), device)  # noqa: B023
    source = torch.ones(count // 4, device=device)
    target = torch.empty_like(source)
    copied = 2 * count / _median(lambda: target.copy_(source), device)
    return Machine(provenance.machine(device), rates[torch.float32], rates[torch.bfloat16], copied)


def _median(work: Callable[[], Any], device: str) -> float:
    work()
    return statistics.median(_seconds(work, device) for _ in range(_ROUNDS))


def _seconds(work: Callable[[], Any], device: str) -> float:
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def wait(device: str) -> None:
    """Wait until the device has done everything it was asked to."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
