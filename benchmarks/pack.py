"""``python -m benchmarks.pack``: take a checkout, data and wheels to a machine without a network.

The archive comes in parts of a size that can be carried, with a manifest by which
``benchmarks.unpack`` checks them, and that script. Results come back in the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import probseg
from benchmarks import choices, unpack
from benchmarks.validation import ChoiceError, choose
from probseg.errors import MissingDataError, ProbsegError
from probseg.files import write_json
from probseg.registry import named_parameters

EXAMPLES = """
examples:
  %(prog)s there.tar --data-root DATA --datasets lidc --wheels missing.txt --parts 60MB
      carry there.tar.* and unpack.py over; then: python unpack.py there.tar --into probseg-run
  %(prog)s back.tar.gz --results benchmarks/out --without '*.ckpt'
      on the other machine, when it is done
"""
ROOT = Path(__file__).parents[1]
Entry = tuple[str, Path]  # name in the archive, file or folder


def make_parser() -> choices.Parser:
    """Return the parser of the command line."""
    parser = choices.Parser(
        prog="python -m benchmarks.pack",
        description="Pack what a machine without a network needs, or the results it made.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", type=Path, help="such as there.tar, .tar.gz or .tar.xz")
    parser.add_argument("--datasets", nargs="+", default=[], metavar="NAME", help="to take along")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="where they are (default: $PROBSEG_DATA)",
    )
    parser.add_argument(
        "--wheels", type=Path, metavar="FILE", help="requirements that the machine lacks"
    )
    parser.add_argument("--results", type=Path, metavar="RUN", help="pack a run's folder instead")
    parser.add_argument(
        "--without", action="append", default=[], metavar="GLOB", help="leave such files out"
    )
    parser.add_argument("--parts", default="60MB", metavar="SIZE", help="default: %(default)s")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        size = parse_size(options.parts)
        with tempfile.TemporaryDirectory() as scratch:
            entries = list(_entries(options, Path(scratch)))
            parts = pack(entries, options.archive, size, without=options.without)
    except ChoiceError as error:
        return parser.complain(error)
    except (ProbsegError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    total = sum(part.stat().st_size for part in parts)
    print(f"{len(parts)} parts, {total / 1e6:.1f} MB: {options.archive}.*; beside them unpack.py")
    return 0


def pack(
    entries: Sequence[Entry], archive: Path, size: int, *, without: Sequence[str] = ()
) -> list[Path]:
    """Write files and folders into parts of at most ``size`` bytes, with manifest and unpack.py.

    Args:
        entries: Names in the archive, and what they stand for.
        archive: The parts are called after it.
        size: Of a part, in bytes.
        without: Patterns of the names of files that are left out.

    Returns:
        The parts in their order.
    """

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if any(Path(member.name).match(pattern) for pattern in without) else member

    archive.parent.mkdir(parents=True, exist_ok=True)
    for old in archive.parent.glob(f"{archive.name}.[0-9]*"):  # of a larger archive before
        old.unlink()
    parts = Parts(archive, size)
    mode: Any = f"w|{_compression(archive)}"
    with tarfile.open(fileobj=cast(BinaryIO, parts), mode=mode) as tar:
        for name, path in entries:
            tar.add(path, name, filter=keep)
    parts.close()
    write_json(archive.with_name(f"{archive.name}.json"), {"parts": parts.listed})
    shutil.copyfile(unpack.__file__, archive.with_name("unpack.py"))
    return [archive.with_name(part["name"]) for part in parts.listed]


class Parts:
    """A file that goes on in the next one when it is full.

    Args:
        archive: The parts are called after it.
        size: Of a part, in bytes.
    """

    def __init__(self, archive: Path, size: int) -> None:
        self.archive, self.size = archive, size
        self.listed: list[dict[str, Any]] = []
        self._begin()

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        rest = memoryview(data)
        while rest:
            room = self.size - self.file.tell()
            self.file.write(rest[:room])
            self.hash.update(rest[:room])
            rest = rest[room:]
            if self.file.tell() == self.size:
                self._end()
                self._begin()
        return len(data)

    def close(self) -> None:
        """End the last part; one without content is none."""
        if self.file.tell() or not self.listed:
            self._end()
        else:
            self.file.close()
            self.path.unlink()

    def _begin(self) -> None:
        self.path = self.archive.with_name(f"{self.archive.name}.{len(self.listed):03d}")
        self.file = self.path.open("wb")
        self.hash = hashlib.sha256()

    def _end(self) -> None:
        listed = {"name": self.path.name, "size": self.file.tell()}
        self.file.close()
        self.listed.append({**listed, "sha256": self.hash.hexdigest()})


def parse_size(text: str) -> int:
    """Return the bytes that a size such as ``60MB`` means.

    Raises:
        ChoiceError: It is none.

    >>> parse_size("60MB"), parse_size("1.5 GiB"), parse_size("500")
    (60000000, 1610612736, 500)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMG]?)(i?)B?", text.strip())
    if not found:
        raise ChoiceError(f"--parts is {text!r}; it is a size such as 60MB or 1GiB")
    number, prefix, binary = found.groups()
    return max(
        1, int(float(number) * (1024 if binary else 1000) ** " KMG".index(prefix.upper() or " "))
    )


def _compression(archive: Path) -> str:
    """Return what tarfile calls the compression that the name asks for, nothing for none."""
    known = {".gz": "gz", ".tgz": "gz", ".xz": "xz", ".bz2": "bz2"}
    return known.get(archive.suffix, "")


def _entries(options: argparse.Namespace, scratch: Path) -> Iterator[Entry]:
    if options.results is not None:
        if not options.results.is_dir():
            raise ChoiceError(f"--results {options.results} is no folder; give that of a run")
        yield "results", options.results
        return
    for name in tracked_files():
        yield f"checkout/{name}", ROOT / name
    for name in choose(options.datasets, probseg.datasets, kind="data set"):
        yield data_entry(name, options.data_root)
    if options.wheels is not None:
        yield "wheels", download(options.wheels, scratch / "wheels")


def tracked_files() -> list[str]:
    """Return the files of this checkout that git knows.

    Raises:
        MissingDataError: This is no checkout.
    """
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingDataError(f"{ROOT} is no git checkout; run this from one")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def data_entry(name: str, root: Path | None) -> Entry:
    """Return the packed cache of a data set, which ``--data-root data`` finds over there.

    Raises:
        ProbsegError: It is not there.
        ChoiceError: It lies in no data root: it comes with the packages, or is made.
    """
    from benchmarks.material import open_dataset

    if "root" not in named_parameters(probseg.datasets[name]):
        raise ChoiceError(f"{name} needs no packing: it comes with the packages, or is made")
    dataset: Any = open_dataset({"name": name}, root)
    return f"data/{name}", dataset.folder


def download(requirements: Path, into: Path) -> Path:
    """Download the wheels of a requirements file and what they need, for a Python like this one.

    Raises:
        MissingDataError: pip could not.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    arguments = ["--requirement", str(requirements), "--dest", str(into)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingDataError(f"pip cannot download {requirements}: {done.stderr.strip()}")
    return into


if __name__ == "__main__":
    sys.exit(main())
