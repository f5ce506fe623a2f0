"""What may be wrong with hierarchical crops of LIDC: named, and left out where that is allowed."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lidc_written import crops_files, png, random_cases, write_files, write_zip
from PIL import Image

from probseg.datasets.lidc import lidc
from probseg.errors import DataError

CASES = random_cases(6, 64)
NAMES = list(crops_files(CASES))
IMAGE = next(name for name in NAMES if "_c3.png" in name)
MASK = next(name for name in NAMES if "_c3_l1.png" in name)
SIZE = (64, 64)


def _animated() -> bytes:
    first, second = (Image.fromarray(np.full(SIZE, shade, np.uint8)) for shade in (0, 255))
    first.save(file := io.BytesIO(), "PNG", save_all=True, append_images=[second])
    return file.getvalue()


Spoil = Callable[[bytes], bytes | None]
FAULTS: dict[str, tuple[str, Spoil, str]] = {
    "truncated": (IMAGE, lambda data: data[: len(data) // 2], "not a complete PNG"),
    "cut in its header": (MASK, lambda data: data[:20], "not a complete PNG"),
    "empty": (MASK, lambda _: b"", "is empty"),
    "text": (IMAGE, lambda _: b"not a picture, but long enough to be one", "not a complete PNG"),
    "16 bit": (IMAGE, lambda _: png(np.zeros(SIZE, np.uint16)), "16-bit greyscale, not"),
    "colour": (IMAGE, lambda _: png(np.zeros((*SIZE, 3), np.uint8)), "8-bit colour, not 8-bit"),
    "one bit": (MASK, lambda _: png(np.zeros(SIZE, np.bool_)), "1-bit greyscale"),
    "with alpha": (IMAGE, lambda _: png(np.zeros((*SIZE, 2), np.uint8)), "greyscale with alpha"),
    "animated": (IMAGE, lambda _: _animated(), "has several pages"),
    "other size": (IMAGE, lambda _: png(np.zeros((128, 128), np.uint8)), "128x128, not 64x64"),
    "mask of another size": (MASK, lambda _: png(np.zeros((64, 63), np.uint8)), "64x63, not 64x64"),
    "other values": (MASK, lambda _: png(np.full(SIZE, 7, np.uint8)), "[7]"),
    "no image": (IMAGE, lambda _: None, "lacks image"),
    "no mask": (MASK, lambda _: None, "lacks l1"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_crop_is_refused_or_left_out(fault: str, zipped: bool, tmp_path: Path) -> None:
    name, spoil, why = FAULTS[fault]
    files = crops_files(CASES)
    spoiled = spoil(files.pop(name))
    files |= {} if spoiled is None else {name: spoiled}
    root = (write_zip if zipped else write_files)(tmp_path / "crops.zip", files)
    with pytest.raises(DataError) as caught:
        lidc(root, cache=tmp_path / "cache")
    assert why in str(caught.value) and "_c3" in str(caught.value)
    dataset = lidc(root, cache=tmp_path / "cache", on_fault="skip")
    batch = dataset.batch(range(len(dataset)))
    others = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal((batch.image[:, 0] * 255).round().numpy(), CASES.images[others])
    np.testing.assert_array_equal(batch.masks.numpy(), CASES.masks[others])
    assert list(dataset.groups) == [CASES.patients[row] for row in others]
    (line,) = dataset.skipped
    assert why in line and "_c3" in line


def test_a_fifth_mask_is_refused(tmp_path: Path) -> None:
    files = crops_files(CASES)
    write_files(tmp_path / "in", files | {MASK.replace("_l1", "_l4"): files[MASK]})
    with pytest.raises(DataError, match="has l4; there should be 4 masks only"):
        lidc(tmp_path / "in", cache=tmp_path / "cache")


@pytest.mark.parametrize("copy", ["copy/train/", "VAL/"])
def test_a_crop_that_is_there_twice_is_refused(copy: str, tmp_path: Path) -> None:
    files: dict[str, Any] = crops_files(CASES)
    twice = files | {copy + IMAGE.split("/", 1)[1]: files[IMAGE]}
    root = write_zip(tmp_path / "crops.zip", twice)
    with pytest.raises(DataError, match="occurs twice, also as"):
        lidc(root, cache=tmp_path / "cache", on_fault="skip")


def test_an_image_that_claims_to_be_huge_is_never_opened(tmp_path: Path) -> None:
    huge = bytearray(png(np.zeros(SIZE, np.uint8)))
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    files = crops_files(random_cases(1, 64))
    write_files(tmp_path / "in", {**files, next(iter(files)): bytes(huge)})
    with pytest.raises(DataError, match="claims far too many pixels"):
        lidc(tmp_path / "in", cache=tmp_path / "cache")
