"""The parts ``steps``, ``sampling`` and ``profile``: training steps and samples, and their time.

Times are medians of blocks of calls, none of which waits for another.
"""

from __future__ import annotations

import gc
import statistics
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]  # not annotated
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.parts import PartOptions, PartResults
from benchmarks.speed.sample import build_model
from benchmarks.speed.textbook import TextbookPUNet, copy_weights
from benchmarks.speed.timing import mean_seconds, wait
from benchmarks.speed.train import Step, TextbookStep

MODELS = ("punet", "2p-planar", "csae")
GEOMLOSS = {"name": "sinkhorn", "solver": "geomloss"}
BLOCKS = 7
PROFILED_STEPS = 3
PROFILED_ROWS = 25

Call = Callable[[], Any]  # gives the device work and does not wait for it
Candidate = tuple[str, Callable[[], Call]]  # a name, and what makes the call to be timed


def run_steps(options: PartOptions) -> None:
    """Time training steps, the ones worth most first."""
    _measure("steps", step_candidates(options), options, seconds=0.7)


def run_sampling(options: PartOptions) -> None:
    """Time samples of images, from the image on."""
    _measure("sampling", sampling_candidates(options), options, seconds=0.4)


def _measure(
    part: str, candidates: Iterator[Candidate], options: PartOptions, *, seconds: float
) -> None:
    """Time the candidates that no earlier run has timed; each is written at once."""
    results = PartResults(options.out, part, device=options.device_name)
    results["size"] = _size(options)
    for name, make in candidates:
        if results.has(name):
            continue
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # gives back what the last candidate held
        try:
            results[name] = timed(make(), options, seconds=seconds)
        except Exception as error:  # the others are worth having without it
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            results[name] = {"error": message}
        print(name, results.values[name], flush=True)
    results["finished"] = True


def timed(call: Call, options: PartOptions, *, seconds: float) -> dict[str, Any]:
    """Return the seconds of a call, in blocks long enough for the clock, and the peak memory.

    Args:
        call: To time; once only in a rehearsal.
        options: Of the part.
        seconds: What all blocks take together, about.
    """
    blocks, device = 1 if options.small else BLOCKS, options.device
    for _ in range(min(3, blocks)):
        call()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    once = mean_seconds(call, device=device)
    calls = 1 if options.small else max(1, int(seconds / blocks / max(once, 1e-6)))
    measured = [mean_seconds(call, calls, device=device) for _ in range(blocks)]
    return {
        "seconds": statistics.median(measured),
        "lowest": min(measured),
        "highest": max(measured),
        "calls": calls * blocks,
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None,
    }


def _size(options: PartOptions) -> int:
    return 16 if options.small else 128


def step_candidates(options: PartOptions) -> Iterator[Candidate]:
    """Yield the training steps, in order."""
    cuda = options.device == "cuda"
    batches = (2,) if options.small else (32, 256)

    def candidate(batch: int, name: str, make: Callable[..., Call], **more: Any) -> Candidate:
        sizes = {"batch": batch, "size": _size(options), "device": options.device}
        return f"{batch}/{name}", partial(make, **sizes, **more)

    for batch in batches:
        yield candidate(batch, "textbook", _textbook_step)
        for model in MODELS:
            yield candidate(batch, f"{model}, eager", _step, model=model)
        name = "csae with GeomLoss's solver, eager"
        yield candidate(batch, name, _step, model="csae", divergence=GEOMLOSS)
        yield candidate(batch, "textbook, bf16", _textbook_step, bf16=True)
        for model in MODELS if cuda else ():
            yield candidate(batch, f"{model}, CUDA graph", _graph_step, model=model)
    for batch in batches if cuda else ():  # a CPU takes minutes to compile
        for model in MODELS:
            compiled: dict[str, Any] = {"model": model, "compiled": True}
            yield candidate(batch, f"{model}, compiled", _step, **compiled)
            yield candidate(batch, f"{model}, compiled, CUDA graph", _graph_step, **compiled)
    yield candidate(batches[0], "punet, fp32, NCHW", _step, plain=True)


def _step(**options: Any) -> Call:
    return Step(**options).run


def _textbook_step(**options: Any) -> Call:
    return TextbookStep(**options).run


def _graph_step(**options: Any) -> Call:
    return captured(Step(**options, capturable=True).run)


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


def sampling_candidates(options: PartOptions) -> Iterator[Candidate]:
    """Yield the ways to sample, in order."""
    size = _size(options)
    cases = ((3, 2), (5, 1)) if options.small else ((16, 8), (100, 8), (100, 1), (16, 256))
    for count, batch in cases:
        image = torch.rand(batch, 1, size, size, generator=torch.Generator().manual_seed(1))
        image = image.to(options.device)
        makers: dict[str, Callable[..., Call]] = {
            "textbook": _textbook_samples,
            "probseg": _samples,
            "probseg, bf16": partial(_samples, bf16=True),
        }
        if options.device == "cuda":
            makers["probseg, bf16, CUDA graph"] = _graph_samples
        for name, make in makers.items():
            yield f"{count}×{batch}/{name}", partial(make, image, count)


def _textbook_samples(image: torch.Tensor, count: int) -> Call:
    network = TextbookPUNet().to(image.device)
    copy_weights(build_model().to(image.device), network)
    return lambda: network.sample(image, count)


def _samples(image: torch.Tensor, count: int, *, bf16: bool = False) -> Call:
    model, x = _channels_last(image)

    def call() -> Any:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            return model.sample(x, count)

    return call


def _graph_samples(image: torch.Tensor, count: int) -> Call:
    """Capture what ``sample`` does after it has checked the image's values."""
    model, x = _channels_last(image)

    @torch.no_grad()
    def call() -> Any:
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            latent = model.sampled_density(x, projected=False).rsample((count,))
            return model.decoder(model.backbone(x), latent).float().softmax(-3)

    return captured(call)


def _channels_last(image: torch.Tensor) -> tuple[Any, torch.Tensor]:
    model = build_model().to(image.device, memory_format=torch.channels_last)
    return model, image.contiguous(memory_format=torch.channels_last)


def run_profile(options: PartOptions) -> None:
    """Profile a few steps of the cSAE and the PU-Net; each is written at once."""
    results = PartResults(options.out, "profile", device=options.device_name)
    for model in ("csae",) if options.small else ("csae", "punet"):
        if not results.has(model):
            results[model] = _profile(model, options)
    results["finished"] = True


def _profile(model: str, options: PartOptions) -> dict[str, Any]:
    """Return the time of a step, operation by operation."""
    device, batch = options.device, 2 if options.small else 32
    step = _step(model=model, batch=batch, size=_size(options), device=device)
    unprofiled = timed(step, options, seconds=0.2)
    cuda = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiled:
        for _ in range(PROFILED_STEPS):
            step()
        wait(device)
    if cuda:
        profiled.export_chrome_trace(str(options.out / f"trace-{model}.json.gz"))
    # On a GPU the kernels alone: the operations that launch them have the same time again.
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    total = "self_device_time_total" if cuda else "self_cpu_time_total"
    averages = [row for row in profiled.key_averages() if row.device_type == kind]
    rows: list[dict[str, Any]] = [
        {
            "name": row.key,
            "calls": row.count // PROFILED_STEPS,
            "us": float(getattr(row, total)) / PROFILED_STEPS,
        }
        for row in averages
    ]
    return {
        "batch": batch,
        "seconds": unprofiled["seconds"],
        "busy_seconds": sum(row["us"] for row in rows) / 1e6,
        "calls": sum(row.count for row in averages) // PROFILED_STEPS,
        "rows": sorted(rows, key=lambda row: row["us"], reverse=True)[:PROFILED_ROWS],
    }
