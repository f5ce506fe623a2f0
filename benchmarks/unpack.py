"""``python unpack.py ARCHIVE``: check and join the parts that ``benchmarks.pack`` made, and unpack.

It needs nothing but Python, so a copy of it travels beside the parts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

BLOCK = 1 << 20


class ArchiveError(Exception):
    """A part is missing or damaged."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description="Check and join the parts, and unpack them.")
    parser.add_argument("archive", type=Path, help="such as there.tar, beside there.tar.json")
    parser.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="default: here")
    options = parser.parse_args(arguments)
    try:
        count = unpack(options.archive, options.into)
    except (ArchiveError, OSError, tarfile.TarError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(f"{count} files are in {options.into}")
    return 0


def unpack(archive: Path, into: Path) -> int:
    """Check every part, then unpack all of them, and return the number of files.

    Raises:
        ArchiveError: The manifest or a part is missing or damaged; nothing is unpacked then.
    """
    parts = check(archive)
    into.mkdir(parents=True, exist_ok=True)
    count = 0
    joined = cast(BinaryIO, Joined(parts))
    with tarfile.open(fileobj=joined, mode="r|*") as tar:
        for member in tar:
            tar.extract(member, into, filter="data")  # nothing leads out of the folder
            count += member.isfile()
    return count


def check(archive: Path) -> list[Path]:
    """Return the parts of an archive in their order.

    Raises:
        ArchiveError: The manifest is none, or parts are missing or not what it says; all are named.
    """
    manifest = archive.with_name(f"{archive.name}.json")
    try:
        listed: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))["parts"]
        faults = [told for part in listed if (told := _fault(manifest.parent, **part))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"cannot read the manifest {manifest}: {error}") from error
    if faults:
        raise ArchiveError(f"{archive} is not whole; bring again: {', '.join(faults)}")
    return [manifest.parent / part["name"] for part in listed]


def _fault(folder: Path, *, name: str, size: int, sha256: str) -> str:
    path = folder / name
    if not path.is_file():
        return f"{name} (missing)"
    if path.stat().st_size != size:
        return f"{name} ({path.stat().st_size} of {size} bytes)"
    return "" if digest(path) == sha256 else f"{name} (damaged)"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Joined:
    """Files read as one, one after another.

    Args:
        parts: The files.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self.blocks = _blocks(parts)
        self.rest = b""

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end."""
        gathered = bytearray(self.rest)
        while len(gathered) < size and (block := next(self.blocks, b"")):
            gathered += block
        self.rest = bytes(gathered[size:])
        return bytes(gathered[:size])


def _blocks(parts: Sequence[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            while block := file.read(BLOCK):
                yield block


if __name__ == "__main__":
    sys.exit(main())
