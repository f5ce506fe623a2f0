"""The steps of ``python -m benchmarks.gpu``: commands, and the time that each may take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

# Nothing but Python is imported here, probseg neither: the kit is installed first.

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run."""

    out: Path
    steps: Sequence[str] = ()  # all, if none is named
    minutes: float = 8
    kit: Path | None = None
    data_root: Path | None = None
    small: bool = False


@dataclass(frozen=True)
class Step:
    """A command to run.

    Attributes:
        what: In words.
        seconds: Of a run of eight minutes that are kept for it; 0 is what the others leave.
        arguments: Of Python.
        report: The Markdown file that it writes, if it does, in the folder of the run.
    """

    what: str
    seconds: int
    arguments: Sequence[str]
    report: str = ""


def make_steps(options: Options) -> dict[str, Step]:
    """Return the steps, in the order in which they run."""
    device = "cpu" if options.small else "cuda"
    return {
        "environment": Step(
            "the machine and its packages", 20, ["-m", "benchmarks.gpu.environment", device]
        ),
        "tests": Step("pytest -m gpu", 75, _tests(options)),
        "speed-train": Step(
            "training steps beside the textbook's",
            170,
            _speed("train", options),
            "speed-train/speed.md",
        ),
        "speed-sample": Step(
            "16 and 100 samples beside the textbook's",
            75,
            _speed("sample", options),
            "speed-sample/speed.md",
        ),
        "train-paper": Step(
            "1,500 steps of each model on LIDC, profile paper, and its scores",
            140,
            _training("paper", ["max_steps=1500", "images=512"], options),
            "train-paper/table.md",
        ),
        # benchmarks/results/lidc-1500 has the same on a CPU.
        "train-quick": Step(
            "the same in profile quick, to compare with a CPU's",
            0,
            _training("quick", ["max_steps=1500", "validate_every=100", "images=512"], options),
            "train-quick/table.md",
        ),
    }


def _tests(options: Options) -> list[str]:
    # pytest would import every other file too, which takes as long as the tests
    files = (file for file in ROOT.glob("tests/**/test_*.py") if _has_gpu_tests(file))
    tests = sorted(map(str, files))
    several = [f"--numprocesses={min(4, (os.cpu_count() or 1) // 2)}"] if find_spec("xdist") else []
    plugins = ["-p", "no:cacheprovider", "-p", "no:benchmark", *several]
    results = ["-ra", "--durations=10", f"--junitxml={options.out / 'tests.xml'}"]
    return ["-m", "pytest", "-m", "gpu", *tests, *plugins, *results]


def _has_gpu_tests(file: Path) -> bool:
    return "mark.gpu" in file.read_text(encoding="utf-8")


def _speed(topic: str, options: Options) -> list[str]:
    how = ["--small", "--rounds", "1"] if options.small else ["--gpu"]
    return ["-m", "benchmarks.speed", topic, *how, "--out", str(options.out / f"speed-{topic}")]


def _training(profile: str, settings: Sequence[str], options: Options) -> list[str]:
    root = _data_root(options)
    dataset = "ambiguous-shapes" if options.small and root is None else "lidc"
    where = [] if root is None else ["--data-root", str(root)]
    command = ["-m", "benchmarks.run", "--profile", profile, "--folds", "0", "--datasets", dataset]
    command += ["--models", "punet", "2p-planar", "csae", "--baselines", *where]
    command += ["--out", str(options.out / f"train-{profile}")]
    if not options.small:
        return [*command, "--device", "cuda", "--workers", "3", "--set", *settings]
    tiny = "channels=[4,8],convolutions=1}"
    parts = [f"backbone={{name='unet',{tiny}", f"encoder={{name='axis-aligned',{tiny}"]
    steps = ["max_steps=4", "validate_every=2", "images=4", "validation_images=4"]
    return [*command, "--device", "cpu", "--set", *steps, "batch_size=2", "crop=16", *parts]


def _data_root(options: Options) -> Path | None:
    """Return the folder of LIDC, which is the only one in the kit's ``data``."""
    packed = [] if options.kit is None else list((options.kit / "data").glob("*/"))
    return packed[0] if packed else options.data_root
