"""``python -m benchmarks.gpu.environment DEVICE``: print the machine, its packages and its driver.

It fails where torch is missing or has no such device.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import distributions

from benchmarks.jobs import provenance


def main(device: str) -> None:
    """Print them."""
    print(json.dumps(provenance.collect(device).to_json(), indent=1))
    print(*sorted(f"{package.name}=={package.version}" for package in distributions()))
    if shutil.which("nvidia-smi") is not None:
        subprocess.run(["nvidia-smi"], check=False)


if __name__ == "__main__":
    main(sys.argv[1])
