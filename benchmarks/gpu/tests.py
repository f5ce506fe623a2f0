"""The part ``tests``: ``pytest -m gpu``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.part import PartOptions
from benchmarks.gpu.state import State

FILES = sorted(map(str, Path("tests/devices").glob("test_*gpu*.py")))  # quick to collect


def run(options: PartOptions) -> int:
    """Run the tests and return pytest's exit status."""
    state = State(options.out, "tests", keep=False)
    state["small"] = options.small
    environment = dict(os.environ)
    if options.device == "cpu":
        environment["PROBSEG_TEST_DEVICE"] = "cpu"
    report = options.out / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", *FILES, f"--junitxml={report}"]
    arguments = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:benchmark",
        "--durations=10",
        "-ra",
    ]
    if find_spec("xdist") is not None:
        arguments.append(f"--numprocesses={min(4, (os.cpu_count() or 1) // 2)}")
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    state["summary"] = lines[-1].strip(" =\n") if lines else ""
    state["failed"] = [line.strip() for line in lines if line.startswith(("FAILED", "ERROR"))]
    state["status"] = status
    state["finished"] = status == 0
    return status
