"""The part ``train``: runs of the benchmark, for as long as the time allows.

They are ordinary runs of ``python -m benchmarks.run`` that are ended early: the three models of the
paper, and beside them the quick profile, whose results on a CPU are known. A later run of this part
resumes from their checkpoints.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

from benchmarks.gpu.parts import PartOptions, PartResults

MODELS = ("punet", "2p-planar", "csae")
RESERVE = 12  # seconds before the end, for processes to end in good order
# The quick runs have results on a CPU to compare with: benchmarks/results/lidc-1500.
RUNS = {
    "paper": ["--profile", "paper", "--folds", "0"],
    "quick": ["--profile", "quick", "--set", "max_steps=1500", "validate_every=100", "images=512"],
}
# A rehearsal: a few steps of tiny models, one after another.
_TINY = "channels=[4,8],convolutions=1}"
SMALL = [
    *("--set", "max_steps=4", "validate_every=2", "images=4", "validation_images=4"),
    *("batch_size=2", "crop=16"),
    *(f"backbone={{name='unet',{_TINY}", f"encoder={{name='axis-aligned',{_TINY}"),
]


def run(options: PartOptions) -> int:
    """Start both runs, end them when the time is over, and return 1 if one failed before."""
    if options.data_root is None and not options.small:
        raise SystemExit("LIDC is not here: give --data-root, or a --kit that has it")
    results = PartResults(options.out, "train")
    dataset = "lidc" if options.data_root is not None else "contours"
    chosen = ("paper",) if options.small else tuple(RUNS)
    commands = {name: _command(name, dataset, options) for name in chosen}
    results["commands"] = {name: " ".join(_arguments(name, dataset)) for name in chosen}
    results["dataset"] = dataset
    started = time.monotonic()
    processes = {name: _start(name, command, options) for name, command in commands.items()}
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        while any(p.poll() is None for p in processes.values()):
            if options.seconds_left() <= RESERVE:
                break
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    statuses = {name: process.wait() for name, process in processes.items()}
    results["statuses"] = statuses  # 130: ended by its time
    results["seconds"] = results.values.get("seconds", 0) + time.monotonic() - started
    results["finished"] = all(status == 0 for status in statuses.values())
    return int(any(status not in (0, 130) for status in statuses.values()))


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _command(name: str, dataset: str, options: PartOptions) -> list[str]:
    arguments = _arguments(name, dataset)
    if options.data_root is not None:
        arguments += ["--data-root", str(options.data_root)]
    arguments += ["--device", options.device, "--out", str(options.out / f"run-{name}")]
    arguments += SMALL if options.small else ["--workers", str(len(MODELS))]
    return [sys.executable, "-m", "benchmarks.run", *arguments]


def _arguments(name: str, dataset: str) -> list[str]:
    return [*RUNS[name], "--datasets", dataset, "--models", *MODELS, "--baselines"]


def _start(name: str, command: list[str], options: PartOptions) -> subprocess.Popen[Any]:
    log = (options.out / f"run-{name}.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log)
