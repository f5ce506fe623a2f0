"""``make gpu-kit``: what to carry to a GPU machine without a network, besides the checkout.

The wheels that such a machine lacks (``wheels.txt``), and LIDC as a compressed archive in parts.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.arguments import add_data_root
from benchmarks.jobs.data import open_dataset
from probseg.cli.parser import Parser
from probseg.errors import MissingDataError
from probseg.utils.atomic_files import reporting

WHEELS = Path(__file__).with_name("wheels.txt")
PYTHON = "3.12"  # of the GPU machine
GLIBC = (17, 24, 27, 28, 31, 34)  # manylinux_2_N; pip accepts only those that are listed
PART = "45M"  # size, as `split --bytes` takes it


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the kit and return the exit status."""
    parser = Parser(
        prog="python -m benchmarks.gpu.kit",
        description="Bring together what a GPU machine without a network needs: wheels, and LIDC "
        "where there is a data root.",
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-kit"), metavar="DIR")
    add_data_root(parser)
    options = parser.parse_args(arguments)
    return parser.run(lambda: make(options.out, options.data_root))


def make(out: Path, data_root: Path | None) -> int:
    """Make the kit, print what is in it and return exit status 0."""
    with reporting(out):
        out.mkdir(parents=True, exist_ok=True)
    wheels = bring_wheels(out / "wheels")
    print(f"{len(wheels)} wheels: {_megabytes(wheels)}")
    if data_root is None:
        print("no data: give --data-root or PROBSEG_DATA to take LIDC along")
        return 0
    print("compressing LIDC, which takes some minutes", flush=True)
    parts = pack(data_root, out / "lidc.tar.xz.")
    for part in parts:
        print(f"{part}: {_megabytes([part])}")
    print(f"in all {_megabytes([*wheels, *parts])} in {out}")
    return 0


def pack(data_root: Path, prefix: Path) -> list[Path]:
    """Write the packed cache of LIDC as a compressed archive in parts, and return the parts.

    ``cat lidc.tar.xz.* | tar -xJ`` unpacks them.

    Raises:
        MissingDataError: LIDC is not there, or the parts cannot be written.
    """
    dataset: Any = open_dataset("lidc", root=data_root)
    for old in prefix.parent.glob(f"{prefix.name}*"):  # of a larger archive before
        old.unlink()
    tar = ["tar", "-cJf", "-", "-C", str(dataset.folder.parent), dataset.folder.name]
    split = ["split", f"--bytes={PART}", "--numeric-suffixes", "--suffix-length=3", "-"]
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as archive:
        done = subprocess.run([*split, str(prefix)], stdin=archive.stdout, check=False)
    if archive.returncode or done.returncode:
        raise MissingDataError(f"tar and split could not write {prefix}*")
    return sorted(prefix.parent.glob(f"{prefix.name}*"))


def bring_wheels(folder: Path) -> list[Path]:
    """Download the wheels of the GPU machine, and build those that come as sources only.

    Raises:
        MissingDataError: pip could not.
    """
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in GLIBC]
    machine = ["--implementation=cp", f"--python-version={PYTHON}", "--only-binary=:all:"]
    for name in names():
        where = ["--quiet", "--no-deps", name]
        download = ["download", *where, "--dest", str(folder), *machine, *platforms]
        build = ["wheel", *where, "--wheel-dir", str(folder)]
        if _pip(download).returncode and (done := _pip(build)).returncode:
            raise MissingDataError(f"pip has no wheel of {name}: {done.stderr.strip()}")
    return sorted(folder.glob("*.whl"))


def names() -> list[str]:
    """Return the requirements of ``wheels.txt``."""
    lines = WHEELS.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def _pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _megabytes(files: Sequence[Path]) -> str:
    return f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
