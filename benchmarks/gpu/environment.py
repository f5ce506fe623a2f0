"""The parts ``environment`` and ``tests``: the machine, its packages and limits; ``pytest -m gpu``.

The machine is described before anything is measured on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.gpu.parts import PartOptions, PartResults
from benchmarks.jobs import provenance
from benchmarks.speed.timing import measure_machine

TESTS = sorted(map(str, Path("tests/devices").glob("test_*gpu*.py")))  # quick to collect


def run(options: PartOptions) -> None:
    """Write what the machine is and what it can do."""
    results = PartResults(options.out, "environment", keep=False)
    results["small"] = options.small
    results["provenance"] = provenance.collect(options.device).to_json()
    results["packages"] = {d.name: d.version for d in distributions()}
    results["driver"] = _driver()
    results["torch"] = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    results["measured"] = asdict(measure_machine(options.device, small=options.small))
    results["finished"] = True


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(["nvidia-smi", *query], capture_output=True, text=True).stdout.strip()


def run_tests(options: PartOptions) -> int:
    """Run the tests that need a GPU, and return pytest's exit status."""
    results = PartResults(options.out, "tests", keep=False)
    results["small"] = options.small
    command = [sys.executable, "-m", "pytest", "-m", "gpu", *TESTS, "--durations=10", "-ra"]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark"]
    command.append(f"--junitxml={options.out / 'tests.xml'}")
    if find_spec("xdist") is not None:
        command.append(f"--numprocesses={min(4, (os.cpu_count() or 1) // 2)}")
    on_cpu = {"PROBSEG_TEST_DEVICE": "cpu"} if options.device == "cpu" else {}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | on_cpu,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    results["summary"] = lines[-1].strip(" =\n") if lines else ""
    results["failed"] = [line.strip() for line in lines if line.startswith(("FAILED", "ERROR"))]
    results["status"] = process.returncode
    results["finished"] = process.returncode == 0
    return process.returncode
