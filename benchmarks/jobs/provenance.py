"""Where a result comes from: the code, the libraries and the machine."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.arguments import cores

# whose versions decide numbers
PACKAGES = "probseg torch lightning numpy scipy nflows geomloss POT kornia".split()


@dataclass(frozen=True)
class GitState:
    """Revision of the code, and whether files differed from it; None where git does not know."""

    revision: str | None
    dirty: bool | None


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: the code, the libraries and the machine."""

    versions: Mapping[str, str]
    git: GitState
    machine: Mapping[str, Any]  # device, processor, cores, threads, system

    def to_json(self) -> dict[str, Any]:
        """Return the provenance as a JSON object."""
        return asdict(self)


def collect(device: str) -> Provenance:
    """Return the provenance of what this process computes."""
    versions = {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}}
    changes = _git("status", "--porcelain", "--untracked-files=no")
    git = GitState(_git("rev-parse", "HEAD"), None if changes is None else bool(changes))
    return Provenance(versions, git, machine(device))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.check_output(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=20,
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None  # an installed copy outside any repository


def machine(device: str) -> dict[str, Any]:
    """Return what the numbers were computed on."""
    import torch

    cuda = device.startswith("cuda") and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else device,
        "processor": _processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
