"""``python -m benchmarks.gpu.environment DEVICE``: print the machine, its packages and its driver.

It fails where torch is missing or has no such device.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import distributions

import torch

from benchmarks.jobs import provenance


def main(device: str) -> None:
    """Print them, or end with status 1 and a message."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here; --small rehearses on the CPU")
    print(json.dumps(provenance.collect(device).to_json(), indent=1))
    print(*sorted(f"{package.name}=={package.version}" for package in distributions()))
    if shutil.which("nvidia-smi") is not None:
        subprocess.run(["nvidia-smi"], check=False)


if __name__ == "__main__":
    main(sys.argv[1])
