"""The part ``profile``: where the time of a training step goes, operation by operation."""

from __future__ import annotations

from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.part import PartOptions
from benchmarks.gpu.state import State
from benchmarks.gpu.timing import REHEARSAL, timed
from benchmarks.speed.timing import wait
from benchmarks.speed.train import Ours

STEPS = 3
ROWS = 25


def run(options: PartOptions) -> None:
    """Profile a few steps of the PU-Net and the cSAE; each is written at once."""
    state = State(options.out, "profile", device=options.device_name)
    size, batch = (16, 2) if options.small else (128, 32)
    for model in ("csae",) if options.small else ("csae", "punet"):
        if not state.has(model):
            state[model] = _profile(model, options, batch=batch, size=size)
    state["finished"] = True


def _profile(model: str, options: PartOptions, *, batch: int, size: int) -> dict[str, Any]:
    device = options.device
    step = Ours(model=model, batch=batch, size=size, device=device).step
    plain = timed(step, device, **(REHEARSAL if options.small else {"seconds": 0.2}))
    cuda = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiled:
        for _ in range(STEPS):
            step()
        wait(device)
    if cuda:
        profiled.export_chrome_trace(str(options.out / f"trace-{model}.json.gz"))
    # On a GPU the kernels alone: what was called to launch them has their time once more.
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    found = [row for row in profiled.key_averages() if row.device_type == kind]
    rows = sorted(found, key=lambda row: float(getattr(row, key)), reverse=True)
    return {
        "batch": batch,
        "seconds": plain["seconds"],
        "busy_seconds": sum(float(getattr(row, key)) for row in found) / STEPS / 1e6,
        "calls": sum(row.count for row in found) // STEPS,
        "rows": [
            {"name": row.key, "calls": row.count // STEPS, "us": float(getattr(row, key)) / STEPS}
            for row in rows[:ROWS]
        ],
    }
