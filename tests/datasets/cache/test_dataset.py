from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from probseg.datasets.cache import packing
from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import ArrayWriter, cache_root, open_or_pack
from probseg.datasets.cache.source import Record
from probseg.errors import DataError, ProbsegError


class RandomSource:
    """Random samples in items of uneven lengths."""

    name = "random"
    provenance = "random numbers"

    def __init__(
        self,
        lengths: tuple[int, ...] = (3, 1, 4),
        shape: tuple[int, int, int] = (1, 5, 7),
        classes: int = 2,
        dtype: Any = np.uint8,
    ) -> None:
        self.classes, self.lengths, self.state = classes, lengths, {"seed": 1}
        random, count = np.random.default_rng(1), sum(lengths)
        self.images = random.integers(0, 256, (count, *shape)).astype(dtype)
        self.masks = random.integers(0, classes, (count, 3, *shape[1:]), np.uint8)
        self.made = 0

    def __len__(self) -> int:
        return sum(self.lengths)

    def items(self) -> list[list[int]]:
        self.made += 1
        ends = list(accumulate(self.lengths))
        return [list(range(end - n, end)) for end, n in zip(ends, self.lengths, strict=True)]

    def faults(self) -> list[str]:
        return []

    def read(self, rows: list[int]) -> list[Record]:
        return [Record(f"s{r}", f"g{r // 2}", self.images[r], self.masks[r]) for r in rows]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    classes=st.sampled_from([2, 3, 5]),
    dtype=st.sampled_from([np.uint8, np.float16]),
    seed=st.integers(0, 99),
)
def test_what_is_packed_is_read(
    lengths: Any, shape: Any, classes: int, dtype: Any, seed: int, tmp_path_factory: Any
) -> None:
    source = RandomSource(lengths, shape, classes, dtype)
    dataset = open_or_pack(source, tmp_path_factory.mktemp("packed") / "random")
    rows = np.random.default_rng(seed).integers(-len(dataset), len(dataset), 6)
    batch = dataset.batch(rows.tolist())
    scale = 255 if dtype is np.uint8 else 1
    expected = torch.from_numpy(source.images[rows].astype(np.float32)) / scale
    torch.testing.assert_close(batch.image, expected)
    assert batch.masks.equal(torch.from_numpy(source.masks[rows]))
    assert (dataset.channels, dataset.annotators, dataset.classes) == (shape[0], 3, classes)


def test_samples_equal_batches(tmp_path: Path) -> None:
    dataset = open_or_pack(RandomSource(), tmp_path / "random")
    image, masks, group, _ = dataset[-1]
    batch = dataset.batch([7])
    assert image.equal(batch.image[0]) and masks.equal(batch.masks[0]) and group == "g3"
    assert len(list(dataset)) == len(dataset) == 8
    with pytest.raises(IndexError):
        dataset[8]


def test_it_is_made_once(tmp_path: Path) -> None:
    source = RandomSource()
    first, second = (open_or_pack(source, tmp_path / "random") for _ in range(2))
    assert source.made == 1
    assert first.fingerprint == second.fingerprint
    other = RandomSource()
    other.masks[0, 0, 0, 0] ^= 1
    assert open_or_pack(other, tmp_path / "other").fingerprint != first.fingerprint


def test_several_at_once_make_it_once(tmp_path: Path) -> None:
    source = RandomSource()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: open_or_pack(source, tmp_path / "random"), range(4)))
    assert source.made == 1
    assert len({dataset.fingerprint for dataset in made}) == 1


def overwrite_masks(folder: Path) -> None:
    size = (folder / "masks.npy").stat().st_size
    with open(folder / "masks.npy", "r+b") as file:
        file.seek(size - 1)
        file.write(b"\x01")
    os.utime(folder / "masks.npy", ns=(1, 1))


def change_meta(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps(meta | changes))

    return change


def shorten(folder: Path) -> None:
    data = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(data[:-10])


DAMAGE = {
    "an older schema": change_meta(schema=0),
    "a changed array": overwrite_masks,
    "a short array": shorten,
    "no array": lambda folder: (folder / "images.npy").unlink(),
    "another array": lambda folder: np.save(folder / "images.npy", np.zeros((8, 1, 5, 7))),
    "masks of another size": lambda folder: np.save(
        folder / "masks.npy", np.zeros((8, 3, 9), "u1")
    ),
    "no meta": lambda folder: (folder / "meta.json").unlink(),
    "half a meta": lambda folder: (folder / "meta.json").write_text('{"schema": 1, "na'),
    "a list as meta": lambda folder: (folder / "meta.json").write_text("[]"),
    "fewer groups": change_meta(groups=["g"]),
    "no fingerprint": change_meta(fingerprint=None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_refused_and_made_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, folder = RandomSource(), tmp_path / "random"
    sound = open_or_pack(source, folder).fingerprint
    if damage == "no fingerprint":
        os.utime(folder / "masks.npy", ns=(1, 1))  # makes it look again
    DAMAGE[damage](folder)
    with pytest.raises(DataError):
        PackedDataset(folder)
    with caplog.at_level(logging.WARNING):
        again = open_or_pack(source, folder)
    assert "packed again" in caplog.text
    assert again.fingerprint == sound and source.made == 2
    again.verify()


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_a_file_that_is_truncated_while_it_is_open_is_told(name: str, tmp_path: Path) -> None:
    """Reading beyond the end of a mapped file would end the process by SIGBUS."""
    open_or_pack(RandomSource(lengths=(200,), shape=(1, 64, 64)), tmp_path / "cache")
    code = f"""
import os
from probseg.datasets.cache.dataset import PackedDataset
from probseg.errors import DataError
dataset = PackedDataset({str(tmp_path / "cache")!r})
os.truncate(dataset.folder / {name!r}, 4096)
try:
    dataset.batch(range(190, 200))
except DataError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0 and "truncated while it was open); remove the folder" in run.stdout


def test_a_cache_whose_files_windows_keeps_open_is_left_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = RandomSource(), tmp_path / "cache"
    before = open_or_pack(source, folder)
    source.state = {"seed": 2}
    replace = os.replace

    def of_windows(old: Path, new: Path) -> None:
        if Path(old) == folder:
            raise PermissionError(13, "Access is denied", str(old))
        replace(old, new)

    monkeypatch.setattr(os, "replace", of_windows)
    with pytest.raises(ProbsegError, match=r"Access is denied; Windows replaces none .* close"):
        open_or_pack(source, folder)
    monkeypatch.undo()
    assert torch.equal(before[0].image, PackedDataset(folder)[0].image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "cache.lock"]


def test_a_copied_cache_is_verified_and_used(tmp_path: Path) -> None:
    source, folder = RandomSource(), tmp_path / "random"
    open_or_pack(source, folder)
    os.utime(folder / "images.npy", ns=(1, 1))
    open_or_pack(source, folder)
    assert source.made == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_an_interruption_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    class Interrupted(RandomSource):
        def read(self, rows: list[int]) -> list[Record]:
            if rows[0]:
                raise error
            return super().read(rows)

    with pytest.raises(error):
        open_or_pack(Interrupted(), tmp_path / "random")
    assert [path.name for path in tmp_path.iterdir()] == ["random.lock"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".random.abc_1234").mkdir()
    open_or_pack(RandomSource(), tmp_path / "random")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["random", "random.lock"]


def test_a_source_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples"):
        open_or_pack(RandomSource(lengths=()), tmp_path / "random")


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProbsegError, match="PROBSEG_CACHE"):
        open_or_pack(RandomSource(), tmp_path / "file" / "random")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(ArrayWriter):
        def __init__(self, path: Path) -> None:
            super().__init__(Path("/dev/full"))

    monkeypatch.setattr(packing, "ArrayWriter", Full)
    with pytest.raises(ProbsegError, match="No space left"):
        open_or_pack(RandomSource(lengths=(4000,)), tmp_path / "random")
    assert [path.name for path in tmp_path.iterdir()] == ["random.lock"]


def test_rows_of_two_shapes_are_refused(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.npy") as array:
        array.append(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="rows of"):
            array.append(np.zeros((2, 4)))
    assert np.load(tmp_path / "a.npy").shape == (2, 3)


def test_it_pickles_as_its_path(tmp_path: Path) -> None:
    dataset = open_or_pack(RandomSource((500,), (1, 64, 64)), tmp_path / "random")
    data = pickle.dumps(dataset)
    assert len(data) < 1000
    assert pickle.loads(data)[3].image.equal(dataset[3].image)


def test_a_data_loader_takes_whole_batches(tmp_path: Path) -> None:
    dataset = open_or_pack(RandomSource(), tmp_path / "random")
    batches = list(DataLoader(dataset, batch_size=3))
    assert [len(batch.image) for batch in batches] == [3, 3, 2]
    assert batches[2].masks.equal(dataset.batch([6, 7]).masks)


def test_where_caches_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBSEG_CACHE", str(tmp_path / "variable"))
    assert cache_root(tmp_path) == tmp_path
    assert cache_root() == tmp_path / "variable"
    monkeypatch.delenv("PROBSEG_CACHE")
    assert cache_root() == Path.home() / ".cache" / "probseg"


def test_a_progress_bar_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_or_pack(RandomSource(), tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    open_or_pack(RandomSource(), tmp_path / "loud", progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "packing random" in err and "8/8" in err
