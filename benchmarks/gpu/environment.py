"""The part ``environment``: the machine, its packages, and what it computes and copies a second."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import distributions

from benchmarks.gpu.part import PartOptions
from benchmarks.gpu.state import State
from benchmarks.jobs import provenance
from benchmarks.jobs.records import to_json


def run(options: PartOptions) -> None:
    """Find out and write."""
    state = State(options.out, "environment", keep=False)
    state["small"] = options.small
    state["provenance"] = to_json(provenance.collect(options.device))
    state["packages"] = {d.name: d.version for d in distributions()}
    state["driver"] = _driver()
    state["torch"] = _torch()
    from benchmarks.speed import machine

    state["measured"] = asdict(machine.measure(options.device, small=options.small))
    state["finished"] = True


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(["nvidia-smi", *query], capture_output=True, text=True).stdout.strip()


def _torch() -> dict[str, object]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "python": sys.version,
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "capability": torch.cuda.get_device_capability() if cuda else None,
    }
