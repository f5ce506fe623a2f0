"""Timing on a device: medians of blocks of calls, none of which waits for another."""

from __future__ import annotations

import gc
import statistics
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from benchmarks.gpu.results import PartResults
from benchmarks.speed.timing import mean_seconds

Call = Callable[[], Any]  # gives the device work and does not wait for it


class Effort(NamedTuple):
    """How long something is timed."""

    seconds: float = 1.0  # of all blocks together, about
    blocks: int = 7


REHEARSAL = Effort(seconds=0.0, blocks=1)


class Candidate(NamedTuple):
    """Something to be timed, under a name."""

    name: str
    make: Callable[[], Call]


def timed(call: Call, device: str, effort: Effort) -> dict[str, Any]:
    """Return the seconds of a call, in blocks long enough for the clock, and the peak memory."""
    for _ in range(min(3, effort.blocks)):
        call()
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    once = mean_seconds(call, device=device)
    calls = max(1, int(effort.seconds / effort.blocks / max(once, 1e-6)))
    seconds = [mean_seconds(call, calls, device=device) for _ in range(effort.blocks)]
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    return {
        "seconds": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
        "calls": calls * effort.blocks,
        "peak_mb": peak,
    }


def measure(
    results: PartResults, candidates: Iterable[Candidate], device: str, effort: Effort
) -> None:
    """Time the candidates that no earlier run has timed; each is written at once."""
    for candidate in candidates:
        if results.has(candidate.name):
            continue
        _free_memory()
        try:
            results[candidate.name] = timed(candidate.make(), device, effort)
        except Exception as error:  # the others are worth having without it
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            results[candidate.name] = {"error": message}
        print(candidate.name, results.values[candidate.name], flush=True)
    results["finished"] = True


def _free_memory() -> None:
    """Give back what the last candidate held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def captured(call: Call) -> Call:
    """Return the replay of a CUDA graph of a call whose tensors keep their addresses.

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
