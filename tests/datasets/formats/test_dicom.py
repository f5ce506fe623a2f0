from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_series import ct
from numpy.testing import assert_array_equal
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from probseg.datasets.formats.dicom import read_header, read_hounsfield
from probseg.errors import DataError

UID = "1.2.3"


def test_values_are_rescaled_to_hounsfield_units(tmp_path: Path) -> None:
    stored = np.arange(6, dtype=np.int16).reshape(2, 3) - 3
    ct(tmp_path / "a.dcm", stored, RescaleSlope="2.5", RescaleIntercept="-1024")
    expected = [[-1031.5, -1029, -1026.5], [-1024, -1021.5, -1019]]
    assert_array_equal(read_hounsfield(tmp_path / "a.dcm"), np.array(expected, np.float32))


def test_unsigned_values_and_compressed_ones_are_read_alike(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 60_000, (32, 16)).astype(np.uint16)
    dataset = ct(tmp_path / "plain.dcm", stored)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "packed.dcm", enforce_file_format=True)
    for name in ("plain.dcm", "packed.dcm"):
        assert_array_equal(read_hounsfield(tmp_path / name), stored.astype(np.float32) - 1024)


def test_a_header_says_where_the_slice_lies(tmp_path: Path) -> None:
    ct(tmp_path / "without suffix", np.zeros((8, 12), np.int16), z=-117.5, spacing=(0.7, 0.6))
    header = read_header(tmp_path / "without suffix", {UID})
    assert header == (UID, -117.5, (0.7, 0.6), (8, 12))


def test_other_series_and_other_files_are_no_slices(tmp_path: Path) -> None:
    ct(tmp_path / "a.dcm", np.zeros((8, 8), np.int16))
    (tmp_path / "LICENSE").write_text("terms")
    (tmp_path / "empty.xml").write_bytes(b"")
    assert read_header(tmp_path / "a.dcm", {"9.9"}) is None
    assert read_header(tmp_path / "LICENSE", {UID}) is None
    assert read_header(tmp_path / "empty.xml", {UID}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "not axial"),  # coronal
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.94, 0.34]}, "not axial"),  # 20 degrees of tilt
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"ImagePositionPatient": [0, 0]}, "3 numbers as ImagePositionPatient"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"PixelSpacing": [0, 0]}, r"pixels of \[0\.0, 0\.0\] mm"),
    ],
)
def test_a_slice_without_a_place_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    ct(tmp_path / "a.dcm", np.zeros((8, 8), np.int16), **change)
    with pytest.raises(DataError, match=message):
        read_header(tmp_path / "a.dcm", {UID})


def test_a_patient_on_the_belly_is_axial(tmp_path: Path) -> None:
    prone = [-1, 0, 0, 0, -1, 0]
    ct(tmp_path / "a.dcm", np.zeros((8, 8), np.int16), ImageOrientationPatient=prone)
    assert read_header(tmp_path / "a.dcm", {UID}) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RescaleSlope": None}, "no readable RescaleSlope"),
        ({"RescaleIntercept": None}, "no readable RescaleIntercept"),
        ({"RescaleSlope": "0"}, "rescale slope 0"),
        ({"Rows": 9}, "cannot be decoded"),
        ({"NumberOfFrames": 2, "Rows": 4}, "not one slice"),
        ({"PixelData": None}, "cannot be decoded"),
    ],
)
def test_pixels_of_unknown_meaning_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    ct(tmp_path / "a.dcm", np.zeros((8, 8), np.int16), **change)
    with pytest.raises(DataError, match=message):
        read_hounsfield(tmp_path / "a.dcm")


@pytest.mark.parametrize("kept", [0, 100, 131, 140, 300, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    ct(path, np.arange(64 * 64, dtype=np.int16).reshape(64, 64))
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(DataError):
        assert read_header(path, {UID}) is not None  # cut in the pixels: only the header is whole
        read_hounsfield(path)


def test_a_compression_that_nobody_decodes_is_named(tmp_path: Path) -> None:
    dataset: Dataset = ct(tmp_path / "a.dcm", np.zeros((8, 8), np.int16))
    dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match="cannot be decoded as JPEG 2000"):
        read_hounsfield(tmp_path / "a.dcm")


def test_bytes_that_are_flipped_never_give_another_kind_of_error(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    ct(path, np.arange(256, dtype=np.int16).reshape(16, 16))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = whole.copy()
        damaged[random.integers(128, len(whole) - 512, 3)] ^= random.integers(1, 256, 3, np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            if read_header(path, {UID}) is not None:
                assert read_hounsfield(path).ndim == 2
        except DataError:
            pass
