"""Timing on a device: medians of blocks of calls, none of which waits for another."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.speed.machine import wait

BLOCKS = 7
REHEARSAL = {"seconds": 0.0, "blocks": 1}


def timed(
    call: Callable[[], Any], device: str, *, seconds: float = 1.0, blocks: int = BLOCKS
) -> dict[str, Any]:
    """Return the seconds of a call, in blocks long enough for the clock, and the peak memory.

    Args:
        call: Gives the device something to do and does not wait for it.
        device: "cuda" or "cpu".
        seconds: What all blocks take together, about.
        blocks: How many.
    """
    for _ in range(min(3, blocks)):
        call()
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    once = _block(call, 1, device)
    calls = max(1, int(seconds / blocks / max(once, 1e-6)))
    taken = [_block(call, calls, device) for _ in range(blocks)]
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    return {
        "seconds": statistics.median(taken),
        "lowest": min(taken),
        "highest": max(taken),
        "calls": calls * blocks,
        "peak_mb": peak,
    }


def _block(call: Callable[[], Any], calls: int, device: str) -> float:
    wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    wait(device)
    return (time.perf_counter() - started) / calls


def forget() -> None:
    """Give back what the last contestant held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def captured(call: Callable[[], Any]) -> Callable[[], None]:
    """Return the replay of a CUDA graph of a call whose tensors stay where they are.

    Raises:
        RuntimeError: The call waits for the device, or does what a graph cannot hold.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
        torch.cuda.set_sync_debug_mode("error")  # a capture that fails spoils the generator
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
