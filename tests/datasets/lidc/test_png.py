from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.lidc import lidc
from probseg.errors import DataError, MissingDataError
from probseg.interfaces import Dataset

MASK, IMAGE = (
    "LIDC-IDRI-0002/nodule-1/mask-3/slice-0.png",
    "LIDC-IDRI-0010/nodule-0/images/slice-1.png",
)


def equals(dataset: PackedDataset, tree: Any) -> None:
    batch = dataset.batch(range(len(tree.ids)))
    assert dataset.ids == tree.ids
    assert dataset.groups == [name.split("/")[0] for name in tree.ids]
    assert_array_equal((batch.image[:, 0] * 255).round().numpy(), tree.images)
    assert_array_equal(batch.masks.numpy(), tree.masks)


@pytest.mark.parametrize("where", ["folder", "parent", "grandparent", "zip", "beside", "variable"])
def test_every_place_gives_what_was_written(
    where: str,
    tree: Any,
    as_zip: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root: Path | None = tree.root
    if where == "parent":
        root = tree.root.parent
    elif where == "grandparent":
        root = tree.root.parent.parent
    elif where in ("zip", "beside"):
        root = as_zip(tree.root)
        root = root if where == "zip" else root.parent
    elif where == "variable":
        monkeypatch.setenv("PROBSEG_DATA", str(tree.root))
        root = None
    dataset = lidc(root, cache=tmp_path / "cache")
    assert isinstance(dataset, Dataset)
    assert (dataset.name, dataset.channels, dataset.classes, dataset.annotators) == (
        "lidc",
        1,
        2,
        4,
    )
    equals(dataset, tree)
    equals(lidc(dataset.folder), tree)  # a packed folder is a root as well


def test_images_are_in_the_unit_interval(tree: Any, tmp_path: Path) -> None:
    sample = lidc(tree.root, cache=tmp_path / "cache")[-1]
    assert sample.image.dtype == torch.float32
    assert sample.masks.dtype == torch.uint8
    assert (sample.image.min(), sample.image.max()) == (0, 1)
    assert sample.group == "LIDC-IDRI-0031"


def test_a_second_use_reads_the_cache_only(
    tree: Any, as_zip: Callable[..., Path], tmp_path: Path
) -> None:
    archive = as_zip(tree.root)
    first = lidc(archive, cache=tmp_path / "cache")
    state = archive.stat()
    archive.write_bytes(b"x" * state.st_size)
    os.utime(archive, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert lidc(archive, cache=tmp_path / "cache").fingerprint == first.fingerprint


def test_a_changed_source_is_packed_again(
    tree: Any, tmp_path: Path, encode: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    before = lidc(tree.root, cache=tmp_path / "cache")
    (tree.root / IMAGE).write_bytes(encode(np.full((128, 128), 7, np.uint8)))
    with caplog.at_level(logging.WARNING):
        after = lidc(tree.root, cache=tmp_path / "cache")
    assert "another state of its source" in caplog.text
    assert after.fingerprint != before.fingerprint
    index = after.ids.index("LIDC-IDRI-0010/nodule-0/slice-1")
    assert (after[index].image * 255).round().unique().tolist() == [7]


FAULTS: dict[str, tuple[str, Callable[[bytes, Callable[..., bytes]], bytes | None], str]] = {
    "truncated": (IMAGE, lambda data, _: data[: len(data) // 2], "not a complete PNG"),
    "cut in its header": (IMAGE, lambda data, _: data[:20], "not a complete PNG"),
    "flipped bit": (
        IMAGE,
        lambda data, _: data[:60] + bytes([data[60] ^ 8]) + data[61:],
        "not a complete PNG",
    ),
    "empty": (MASK, lambda *_: b"", "is empty"),
    "not an image": (MASK, lambda *_: b"PK\x03\x04 not a picture", "not a complete PNG"),
    "a huge file": (MASK, lambda *_: bytes(1 << 21), "bytes"),
    "missing mask": (MASK, lambda *_: None, "lacks mask-3"),
    "missing image": (IMAGE, lambda *_: None, "lacks image"),
    "16 bit": (IMAGE, lambda _, png: png(np.zeros((128, 128), np.uint16)), "8-bit greyscale"),
    "colour": (IMAGE, lambda _, png: png(np.zeros((128, 128, 3), np.uint8)), "8-bit greyscale"),
    "other size": (IMAGE, lambda _, png: png(np.zeros((128, 127), np.uint8)), "128x127"),
    "grey mask": (MASK, lambda _, png: png(np.full((128, 128), 128, np.uint8)), "[128]"),
    "mask of 0 and 1": (MASK, lambda _, png: png(np.eye(128, dtype=np.uint8)), "[1]"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_bad_file_is_named_and_nothing_is_left(
    fault: str,
    zipped: bool,
    tree: Any,
    as_zip: Callable[..., Path],
    tmp_path: Path,
    encode: Callable[..., bytes],
) -> None:
    name, spoil, why = FAULTS[fault]
    spoiled = spoil((tree.root / name).read_bytes(), encode)
    if spoiled is None:
        (tree.root / name).unlink()
    else:
        (tree.root / name).write_bytes(spoiled)
    root = as_zip(tree.root) if zipped else tree.root
    with pytest.raises(DataError) as caught:
        lidc(root, cache=tmp_path / "cache")
    message = str(caught.value)
    assert why in message
    assert str(root) in message and "download it again" in message
    assert name.split("/")[0] in message
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_ten_problems_are_named_and_the_others_counted(tree: Any, tmp_path: Path) -> None:
    for mask in tree.root.glob("*/*/mask-2/*.png"):
        mask.unlink()
    with pytest.raises(DataError, match="and 5 more") as caught:
        lidc(tree.root, cache=tmp_path / "cache")
    assert str(caught.value).count("lacks mask-2") == 10


def test_a_slice_that_is_there_twice_is_refused(tree: Any, tmp_path: Path) -> None:
    copy = tree.root / "copy" / IMAGE
    copy.parent.mkdir(parents=True)
    copy.write_bytes((tree.root / IMAGE).read_bytes())
    with pytest.raises(DataError, match="occurs twice"):
        lidc(tree.root, cache=tmp_path / "cache")


def test_a_fifth_mask_is_refused(tree: Any, tmp_path: Path) -> None:
    extra = tree.root / MASK.replace("mask-3", "mask-4")
    extra.parent.mkdir(parents=True)
    extra.write_bytes((tree.root / MASK).read_bytes())
    with pytest.raises(DataError, match="4 masks only"):
        lidc(tree.root, cache=tmp_path / "cache")


def test_a_truncated_zip_is_refused(tree: Any, as_zip: Callable[..., Path], tmp_path: Path) -> None:
    archive = as_zip(tree.root)
    archive.write_bytes(archive.read_bytes()[:-4000])
    with pytest.raises(DataError, match="not a complete zip file"):
        lidc(archive, cache=tmp_path / "cache")


def test_a_damaged_member_is_named(tree: Any, as_zip: Callable[..., Path], tmp_path: Path) -> None:
    archive = as_zip(tree.root)
    with zipfile.ZipFile(archive) as opened:
        start = opened.getinfo(IMAGE).header_offset
    data = bytearray(archive.read_bytes())
    data[start + 500] ^= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=f"{IMAGE}: is damaged"):
        lidc(archive, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/evil.png", "..\\evil.png"])
def test_a_member_that_leads_out_is_never_followed(
    name: str, tree: Any, as_zip: Callable[..., Path], tmp_path: Path
) -> None:
    archive = as_zip(tree.root)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, "evil")
    with pytest.raises(DataError, match="lies outside of it"):
        lidc(archive, cache=tmp_path / "cache")
    assert not list(tmp_path.parent.rglob("evil.png"))


def test_a_loop_of_links_ends(tree: Any, tmp_path: Path) -> None:
    (tree.root / "loop").symlink_to(tree.root.parent, target_is_directory=True)
    equals(lidc(tree.root, cache=tmp_path / "cache"), tree)


def test_a_member_that_is_there_twice_is_refused(
    tree: Any, as_zip: Callable[..., Path], tmp_path: Path
) -> None:
    archive = as_zip(tree.root)
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr(IMAGE, "another")
    with pytest.raises(DataError, match=f"{IMAGE} occurs twice"):
        lidc(archive, cache=tmp_path / "cache")


@pytest.mark.parametrize("zipped", [False, True])
def test_faulty_samples_can_be_left_out(
    zipped: bool, tree: Any, as_zip: Callable[..., Path], tmp_path: Path
) -> None:
    (tree.root / MASK).unlink()
    (tree.root / IMAGE).write_bytes(b"")
    dataset = lidc(
        as_zip(tree.root) if zipped else tree.root, cache=tmp_path / "cache", on_fault="skip"
    )
    kept = [
        row
        for row, name in enumerate(tree.ids)
        if name not in ("LIDC-IDRI-0002/nodule-1/slice-0", "LIDC-IDRI-0010/nodule-0/slice-1")
    ]
    equals(
        dataset,
        tree._replace(
            ids=[tree.ids[row] for row in kept], images=tree.images[kept], masks=tree.masks[kept]
        ),
    )
    assert dataset.skipped == [
        "LIDC-IDRI-0002/nodule-1/slice-0: lacks mask-3",
        f"{IMAGE}: is empty",
    ]


def test_missing_data_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROBSEG_DATA", raising=False)
    with pytest.raises(MissingDataError, match="PROBSEG_DATA"):
        lidc()
    with pytest.raises(MissingDataError, match="nowhere"):
        lidc(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="has no LIDC, only nothing"):
        lidc(tmp_path / "empty", cache=tmp_path / "cache")
    (tmp_path / "data/lidc").mkdir(parents=True)
    (tmp_path / "data/lidc/meta.json").write_text("{}")
    with pytest.raises(MissingDataError, match=r"give a packed folder itself .*data/lidc;"):
        lidc(tmp_path / "data", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="has no LIDC, only the file"):
        (tmp_path / "file.txt").write_text("text")
        lidc(tmp_path / "file.txt")


def test_real_slices(data_root: Path, tmp_path: Path) -> None:
    archive = data_root / "lidc_slices.zip"
    if not archive.is_file():
        pytest.skip("PROBSEG_DATA has no lidc_slices.zip")
    with zipfile.ZipFile(archive) as real, zipfile.ZipFile(tmp_path / "part.zip", "w") as part:
        names = real.namelist()
        assert sum("/images/" in name for name in names) == 13_977
        assert len({name.split("/")[0] for name in names}) == 786
        for name in names:
            if name.startswith("LIDC-IDRI-0001/"):
                part.writestr(name, real.read(name))
    dataset = lidc(tmp_path / "part.zip", cache=tmp_path / "cache")
    batch = dataset.batch(range(len(dataset)))
    assert len(dataset) == sum(n.startswith("LIDC-IDRI-0001/nodule-0/images") for n in names)
    assert (batch.image.amin((1, 2, 3)) == 0).all()  # each crop is stretched to its own range
    assert (batch.image.amax((1, 2, 3)) == 1).all()
    assert batch.masks.any()


def test_a_patient_who_cannot_be_reached_is_not_left_out(tree: Any, tmp_path: Path) -> None:
    (tree.root / "LIDC-IDRI-0099").symlink_to("/not/mounted/LIDC-IDRI-0099")
    with pytest.raises(DataError, match="/LIDC-IDRI-0099 is a link to /not/mounted/LIDC-IDRI-0099"):
        lidc(tree.root, cache=tmp_path / "cache")
