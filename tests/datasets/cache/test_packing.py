"""Packing under faults: samples left out, races, kills, read-only folders, several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probseg.datasets.cache import packing
from probseg.datasets.cache.dataset import ARRAYS
from probseg.datasets.cache.packing import open_or_pack
from probseg.datasets.cache.source import Record
from probseg.errors import DataError, NotPackedError, OptionError
from probseg.utils.atomic_files import WriteError


class Rows:
    """Samples drawn from their number; some are faulty or unannotated."""

    name, classes, provenance = "rows", 2, "random numbers"

    def __init__(
        self,
        count: int = 40,
        faulty: frozenset[int] = frozenset(),
        unseen: frozenset[int] = frozenset(),
        log: Path | None = None,
    ) -> None:
        self.count, self.faulty, self.unseen, self.log = count, faulty, unseen, log
        self.state = {"path": "nowhere", "count": count}

    def __len__(self) -> int:
        return self.count

    def items(self) -> range:
        return range(self.count)

    def faults(self) -> list[str]:
        return ["s-1: was never there"] if self.faulty else []

    def read(self, row: int) -> list[Record]:
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{row}\n")
        if row in self.faulty:
            raise DataError(f"s{row}: is torn")
        random = np.random.default_rng(row)
        image = random.integers(0, 256, (1, 8, 9), np.uint8)
        present = np.array([True, row % 3 == 0]) & (row not in self.unseen)
        masks = random.integers(0, 2, (2, 8, 9), np.uint8) * present[:, None, None]
        spacing = np.array([0.5, row])
        return [Record(f"s{row}", f"g{row // 4}", image, masks, present, spacing)]


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ARRAYS]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_presence_and_spacing_are_kept(tmp_path: Path) -> None:
    dataset = open_or_pack(Rows(), tmp_path / "rows")
    batch = dataset.batch([5, 3])
    assert batch.present is not None and batch.present.tolist() == [[True, False], [True, True]]
    assert dataset[5].present is not None and dataset[5].present.tolist() == [True, False]
    assert not batch.masks[0, 1].any() and batch.masks[1, 1].any()
    assert dataset.spacing[7].tolist() == [0.5, 7]


def test_faulty_samples_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    source = Rows(faulty=frozenset([3, *range(10, 20)]))
    dataset = open_or_pack(source, tmp_path / "rows", on_fault="skip")
    wanted = [f"s{row}" for row in range(40) if row not in source.faulty]
    assert list(dataset.ids) == wanted and len(dataset) == len(dataset.groups) == 29
    assert dataset.skipped[:2] == ["s-1: was never there", "s3: is torn"]
    assert len(dataset.skipped) == 12
    whole = open_or_pack(Rows(), tmp_path / "whole")
    rows = [int(name[1:]) for name in wanted]
    assert dataset.batch(range(29)).masks.equal(whole.batch(rows).masks)


def test_a_cache_with_samples_left_out_is_refused_unless_that_is_allowed(tmp_path: Path) -> None:
    source = Rows(faulty=frozenset([3]))
    with pytest.raises(DataError, match=r's-1: was never there\n.*on_fault="skip"'):
        open_or_pack(source, tmp_path / "rows")
    assert names(tmp_path) == ["rows.lock"]
    open_or_pack(source, tmp_path / "rows", on_fault="skip")
    with pytest.raises(DataError, match="s-1: was never there"):
        open_or_pack(source, tmp_path / "rows")
    assert len(open_or_pack(source, tmp_path / "rows", on_fault="skip")) == 39


def test_samples_left_out_are_read_again_where_none_may_be(tmp_path: Path) -> None:
    source = Rows(faulty=frozenset([3]))  # say, for want of a decoder: the files stay the same
    open_or_pack(source, tmp_path / "rows", on_fault="skip")
    source.faulty = frozenset()
    assert len(open_or_pack(source, tmp_path / "rows")) == 40


def test_an_image_that_nobody_annotated_is_no_sample(tmp_path: Path) -> None:
    source = Rows(unseen=frozenset([3, 12]))
    with pytest.raises(DataError, match="s3: nobody annotated it"):
        open_or_pack(source, tmp_path / "rows")
    dataset = open_or_pack(source, tmp_path / "rows", on_fault="skip")
    assert len(dataset) == 38 and "s3" not in dataset.ids and dataset.present.any(axis=1).all()
    assert dataset.spacing[:, 1].tolist() == [row for row in range(40) if row not in (3, 12)]


def test_what_is_not_to_be_packed_is_opened_or_refused(tmp_path: Path) -> None:
    log = tmp_path / "read"
    with pytest.raises(NotPackedError, match="rows is not packed"):
        open_or_pack(Rows(log=log), tmp_path / "rows", pack=False)
    with pytest.raises(DataError, match="s-1: was never there"):
        open_or_pack(Rows(faulty=frozenset([3])), tmp_path / "rows", pack=False)
    assert not list(tmp_path.iterdir())
    packed = open_or_pack(Rows(log=log), tmp_path / "rows")
    read = log.read_bytes()
    opened = open_or_pack(Rows(log=log), tmp_path / "rows", pack=False)
    assert opened.fingerprint == packed.fingerprint and log.read_bytes() == read


def test_an_unknown_way_with_faults_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'skip'"):
        open_or_pack(Rows(), tmp_path / "rows", on_fault="skipp")  # type: ignore[arg-type]


def test_several_processes_write_what_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Rows(count=1005, faulty=frozenset([40, 999]), unseen=frozenset([77]))
    log = tmp_path / "log"
    many = open_or_pack(
        Rows(source.count, source.faulty, source.unseen, log), tmp_path / "many", on_fault="skip"
    )
    monkeypatch.setattr(packing, "_WORTH_PROCESSES", 10_000)
    one = open_or_pack(source, tmp_path / "one", on_fault="skip")
    assert contents(many.folder) == contents(one.folder)
    assert many.fingerprint == one.fingerprint and many.skipped == one.skipped
    assert len(log.read_text().splitlines()) == 1005


@pytest.mark.slow
def test_two_processes_at_once_pack_once(tmp_path: Path) -> None:
    source = Rows(log=tmp_path / "log")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        start = time.time() + 3  # when both are up
        made = [pool.submit(_pack_at, start, source.log, tmp_path / "rows") for _ in range(2)]
        assert len({future.result() for future in made}) == 1
    assert len((tmp_path / "log").read_text().splitlines()) == len(source)
    assert names(tmp_path) == ["log", "rows", "rows.lock"]


def _pack_at(start: float, log: Path, folder: Path) -> str:
    time.sleep(max(0, start - time.time()))
    return open_or_pack(Rows(log=log), folder).fingerprint


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_nothing_that_is_taken_for_a_cache(tmp_path: Path) -> None:
    script = f"""
        import sys, time
        sys.path.append({str(Path(__file__).parent)!r})
        import test_packing as t
        from pathlib import Path

        class Slow(t.Rows):
            def read(self, row):
                if row == 20:
                    print("half", flush=True)
                    time.sleep(60)
                return super().read(row)

        t.open_or_pack(Slow(), Path({str(tmp_path)!r}) / "rows")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = names(tmp_path)
    assert "rows" not in left and len(left) == 2 and left[0].startswith(".rows.")
    assert open_or_pack(Rows(), tmp_path / "rows").fingerprint
    assert names(tmp_path) == ["rows", "rows.lock"]


@pytest.fixture
def read_only(tmp_path: Path) -> Any:
    folder = tmp_path / "cache"
    folder.mkdir()
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(stat.S_IRWXU)


def forbid(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")


def test_a_sound_cache_in_a_read_only_folder_is_opened(read_only: Path) -> None:
    open_or_pack(Rows(), read_only / "rows")
    (read_only / "rows.lock").unlink()
    for path in [*read_only.rglob("*"), read_only]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    assert len(open_or_pack(Rows(), read_only / "rows")) == 40
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before


def test_a_read_only_folder_without_a_cache_says_so(read_only: Path) -> None:
    forbid(read_only)
    with pytest.raises(WriteError, match="PROBSEG_CACHE"):
        open_or_pack(Rows(), read_only / "rows")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="this system has no /proc")
def test_opening_a_cache_imports_no_torch_and_little_memory(tmp_path: Path) -> None:
    folder = open_or_pack(Rows(), tmp_path / "rows").folder
    code = (
        "import sys; from probseg.datasets.cache.dataset import PackedDataset; "
        f"print(len(PackedDataset({str(folder)!r})), 'torch' in sys.modules, "
        "open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, torch, kilobytes = done.stdout.split()
    assert (count, torch) == ("40", "False") and int(kilobytes) < 100 * 1024
