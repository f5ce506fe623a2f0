"""Timing on a device: medians of blocks of calls, none of which waits for another."""

from __future__ import annotations

import gc
import statistics
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch

from benchmarks.gpu.state import State
from benchmarks.speed.timing import wait

Make = Callable[[], Callable[[], Any]]  # returns what gives the device something to do

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


def measure(
    state: State, contestants: Iterable[tuple[str, Make]], device: str, known: dict[str, Any]
) -> None:
    """Time contestants that no earlier run has timed; each is written at once.

    Args:
        state: What is known so far.
        contestants: A name, and what makes a call that does not wait.
        device: "cuda" or "cpu".
        known: More of :func:`timed`.
    """
    for name, make in contestants:
        if state.has(name):
            continue
        forget()
        try:
            state[name] = timed(make(), device, **known)
        except Exception as error:  # the others are worth having without it
            traceback.print_exc()
            state[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(name, state.values[name], flush=True)
    state["finished"] = True


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
