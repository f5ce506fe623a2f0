"""Atomic writes: all of a file under its final name, or none of it."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from probseg.errors import ProbsegError
from probseg.utils.atomic_files import (
    WriteError,
    atomic_file,
    atomic_folder,
    leftovers,
    sweep,
    write_json,
)


def fill(temporary, folder, text="new"):
    target = temporary / "inside.txt" if folder else temporary
    target.write_text(text)


def content(path, folder):
    return (path / "inside.txt" if folder else path).read_text()


BOTH = pytest.mark.parametrize(
    ("atomic", "folder"), [(atomic_file, False), (atomic_folder, True)], ids=["file", "folder"]
)


@BOTH
def test_nothing_is_there_until_the_block_ends(atomic, folder, tmp_path):
    path = tmp_path / "deep" / "result"
    with atomic(path) as temporary:
        fill(temporary, folder)
        assert not path.exists() and temporary.parent.parent == path.parent
    assert content(path, folder) == "new"
    assert os.listdir(path.parent) == ["result"]


@BOTH
def test_what_stood_there_is_replaced(atomic, folder, tmp_path):
    path = tmp_path / "result"
    for text in ("old", "new"):
        with atomic(str(path)) as temporary:
            fill(temporary, folder, text)
    assert content(path, folder) == "new" and os.listdir(tmp_path) == ["result"]


@BOTH
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("mine"), SystemExit])
def test_a_failure_passes_and_leaves_what_was_there(atomic, folder, error, tmp_path):
    path = tmp_path / "result"
    with atomic(path) as temporary:
        fill(temporary, folder, "old")
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind), atomic(path) as temporary:
        fill(temporary, folder, "half")
        raise error
    assert content(path, folder) == "old" and os.listdir(tmp_path) == ["result"]


INTERRUPTIBLE = pytest.mark.parametrize(
    ("owner", "step"),
    [(Path, "mkdir"), (os, "replace"), (shutil, "rmtree")],
    ids=["making", "renaming", "removing"],
)


@BOTH
@INTERRUPTIBLE
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_ctrl_c_at_any_step_leaves_all_or_nothing(
    atomic, folder, owner, step, after, tmp_path, monkeypatch
):
    path = tmp_path / "result"
    with atomic(path) as temporary:
        fill(temporary, folder, "old")
    done = getattr(owner, step)

    def interrupted(*arguments, **options):
        monkeypatch.setattr(owner, step, done)
        if after:
            done(*arguments, **options)
        signal.raise_signal(signal.SIGINT)
        return None if after else done(*arguments, **options)

    monkeypatch.setattr(owner, step, interrupted)
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        fill(temporary, folder)
    assert os.listdir(tmp_path) == ["result"]
    assert content(path, folder) in ("old", "new")


@BOTH
def test_a_full_disk_names_the_path_and_the_remedy(atomic, folder, tmp_path):
    wanted = "cannot write .*result: No space left on device; free some space or choose another"
    with pytest.raises(WriteError, match=wanted) as caught, atomic(tmp_path / "result"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert isinstance(caught.value, ProbsegError) and isinstance(caught.value, OSError)
    assert os.listdir(tmp_path) == []


@BOTH
def test_what_windows_keeps_open_is_told_to_be_closed(atomic, folder, tmp_path, monkeypatch):
    with atomic(tmp_path / "result") as temporary:
        fill(temporary, folder)

    def denied(*_):
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "replace", denied)
    wanted = f"cannot replace the {'folder' if folder else 'file'} .*open, so close the"
    with pytest.raises(WriteError, match=wanted), atomic(tmp_path / "result") as temporary:
        fill(temporary, folder)
    assert os.listdir(tmp_path) == ["result"]


@BOTH
def test_a_folder_that_cannot_be_made(atomic, folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot write"), atomic(tmp_path / "file" / "result"):
        raise AssertionError("never reached")


def test_an_error_of_an_inner_write_keeps_its_own_path(tmp_path):
    with pytest.raises(WriteError, match="inner"), atomic_folder(tmp_path / "outer") as temporary:
        with atomic_file(temporary / "inner"):
            raise OSError(errno.ENOSPC, "full")


def test_json_is_readable_and_holds_no_nan(tmp_path):
    path = tmp_path / "data.json"
    write_json(path, {"Gini σ": [0.25, None]})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"Gini σ": [0.25, None]}
    assert "Gini σ" in text and text.endswith("\n")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert path.read_text(encoding="utf-8") == text


def test_others_may_read_what_a_writer_kept_to_its_owner(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    with atomic_file(tmp_path / "kept") as path:
        path.touch(mode=0o600)
    assert (tmp_path / "kept").stat().st_mode == usual.stat().st_mode


def test_leftovers_are_a_writers_own(tmp_path):
    for other in (".a[1].backup", ".a[1].b.k3j_x9qz", "a[1]"):
        (tmp_path / other).mkdir()
    with atomic_folder(tmp_path / "a[1]") as temporary:
        assert leftovers(tmp_path / "a[1]") == [temporary.parent]
    assert not leftovers(tmp_path / "a[1]")


@BOTH
def test_what_a_killed_writer_left_is_swept_away_and_nothing_else(atomic, folder, tmp_path):
    writer = atomic(tmp_path / "result")
    fill(writer.__enter__(), folder)  # and never leaves: it was killed
    others = tmp_path / ".venv.20240101" / "file", tmp_path / ".git" / "result"
    for other in others:
        other.parent.mkdir()
        other.touch()
    assert leftovers(tmp_path / "result")
    sweep(tmp_path)
    assert not leftovers(tmp_path / "result")
    assert all(other.exists() for other in others)
    sweep(tmp_path / "missing")
