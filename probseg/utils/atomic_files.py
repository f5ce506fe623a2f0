"""Writing files and folders atomically: complete under their final name, or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from probseg.errors import ProbsegError


def _usual_permissions() -> int:
    mask = os.umask(0)  # can be read only by setting it
    os.umask(mask)
    return 0o666 & ~mask


_READABLE = _usual_permissions()
_SIGNALS = signal.SIGINT, signal.SIGTERM
_REPLACED = "replaced"
_IT = "it is open, so close the model, or what else was opened from it"
_FILE_IN_IT = "a file in it is open, so close the data set that was opened from it"
_SCRATCH = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # scratch folders


class WriteError(ProbsegError, OSError):
    """A result that could not be written."""


@contextmanager
def reporting(final: Path) -> Iterator[None]:
    """Raise errors of writing ``final`` as :class:`WriteError`, with the remedy."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(
            f"cannot write {final}: {reason}; free some space or choose another folder "
            "(nothing was left behind)"
        ) from error


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` if the block succeeds.

    Raises:
        WriteError: The disk is full, read-only or the folder cannot be made.
    """
    final = Path(path).expanduser()
    with reporting(final), _scratch_folder(final) as folder:
        temporary = folder / final.name
        yield temporary
        temporary.chmod(_READABLE)  # some writers keep a file to its owner
        with _not_open(final, "file", _IT):
            os.replace(temporary, final)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and rename it to ``path`` if the block succeeds.

    A folder at ``path`` is replaced.

    Raises:
        WriteError: The disk is full, read-only or the folder cannot be made.
    """
    final = Path(path).expanduser()
    with reporting(final), _scratch_folder(final) as folder:
        temporary = folder / final.name
        temporary.mkdir()
        yield temporary
        with deferred_interrupts():  # between the two lines the path does not exist
            if final.exists():
                with _not_open(final, "folder", _FILE_IN_IT):
                    os.replace(final, folder / _REPLACED)
            os.replace(temporary, final)


@contextmanager
def _not_open(final: Path, kind: str, while_: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        if not final.exists():
            raise
        raise WriteError(
            f"cannot replace the {kind} {final}: {error.strerror}; Windows replaces none while "
            f"{while_} (del it, or restart the notebook or program that has it) or choose another "
            "folder (nothing was changed)"
        ) from error


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write ``data`` as indented JSON, atomically; NaN and infinity are refused.

    Raises:
        WriteError: The file cannot be written.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def leftovers(path: str | os.PathLike[str]) -> list[Path]:
    """Return the scratch folders beside ``path``, of killed writers and of active ones."""
    final = Path(path).expanduser()
    scratch = ((entry, _SCRATCH.fullmatch(entry.name)) for entry in final.parent.iterdir())
    return [entry for entry, name in scratch if name and name[1] == final.name]


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove the scratch folders of killed writers; no process may be writing in ``folder``."""
    for entry in Path(folder).expanduser().glob(".*"):
        name = _SCRATCH.fullmatch(entry.name)
        if name and entry.is_dir() and {e.name for e in entry.iterdir()} <= {name[1], _REPLACED}:
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM wait until the block ends; a second one acts at once.

    For short blocks. Python handles signals in the main thread alone: elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    # None: installed from C, which cannot be put back
    before = {int(number): old for number, old in handlers.items() if old is not None}

    def wait(number: int, _: FrameType | None) -> None:
        if waiting:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        waiting.append(number)

    try:
        for number in before:
            signal.signal(number, wait)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


@contextmanager
def _scratch_folder(final: Path) -> Iterator[Path]:
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = final.parent / f".{final.name}.{secrets.token_hex(4)}"
    try:  # mkdir as well, so that Ctrl-C during it leaves nothing
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        with deferred_interrupts():
            shutil.rmtree(folder, ignore_errors=True)
