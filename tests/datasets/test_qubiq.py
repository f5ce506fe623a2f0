"""QUBIQ 2021 in the challenge's layouts, with all that is odd in them and all that can be wrong."""

from __future__ import annotations

import gzip
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import probseg
from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.qubiq import SUBSETS, qubiq
from probseg.errors import DataError, MissingDataError, OptionError

TRAINING, VALIDATION = "training_data_v3_QC", "validation_data_qubiq2021_QC"
ITK = np.diag([-0.5, -0.25, 2.0, 1.0])  # rows 0.25 mm, columns 0.5 mm, voxels (column, row)


def save(path: Path, voxels: Any, affine: np.ndarray = ITK) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def case(folder: Path, image: Any, masks: dict[str, Any], affine: np.ndarray = ITK) -> None:
    save(folder / "image.nii.gz", image, affine)
    for name, mask in masks.items():
        save(folder / f"{name}.nii.gz", mask, affine)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, shape, np.uint8)


SHAPES = {"brain-tumor": (12, 10, 4), "kidney": (11, 11), "prostate": (16, 10, 1)}


def write(root: Path, subset: str, cases: int = 2, middle: str = "Training/") -> None:
    volumes, shape = SUBSETS[subset].volumes, SHAPES.get(subset, (12, 10))
    shape = (3, 8, 10) if volumes else shape
    plane = shape if volumes else shape[:2]
    for number in range(1, cases + 1):
        masks = {
            f"task{task:02}_seg{rater:02}": drawn(*plane, seed=100 * number + 10 * task + rater)
            for task in range(1, SUBSETS[subset].tasks + 1)
            for rater in range(1, SUBSETS[subset].raters + 1)
        }
        name = f"case{number}-1" if volumes else f"case{number:02}"
        case(root / subset / f"{middle}{name}", noise(*shape, seed=number), masks)


def load(root: Path, subset: str = "kidney", task: int = 1, **options: Any) -> PackedDataset:
    cache = root.parent / f"cache of {root.name}"
    return qubiq(subset, task, root, cache=cache, **{"size": None, **options})


@pytest.mark.parametrize("name", [name for name in probseg.datasets if name.startswith("qubiq-")])
def test_every_name_gives_its_subset(name: str, tmp_path: Path) -> None:
    subset, task = name.removeprefix("qubiq-"), 1
    if subset not in SUBSETS:
        subset, task = subset[:-2], int(subset[-1])
    chosen = SUBSETS[subset]
    write(tmp_path, subset, middle="" if chosen.volumes else "Training/")
    dataset = probseg.datasets.create(name, root=tmp_path, cache=tmp_path / "cache")
    assert (dataset.name, dataset.classes) == (name, 2)
    assert (dataset.channels, dataset.annotators) == (chosen.channels, chosen.raters)
    image, masks, group, present = dataset[0]
    assert image.shape == (chosen.channels, 128, 128)
    assert_array_equal(image.amin((1, 2)), np.zeros(chosen.channels))
    assert_array_equal(image.amax((1, 2)), np.ones(chosen.channels))
    assert present is not None and present.all()
    assert set(dataset.groups) == (
        {"case1-1", "case2-1"} if chosen.volumes else {"Training/case01", "Training/case02"}
    )
    first = nibabel.load(next(tmp_path.rglob(f"task{task:02}_seg01.nii.gz")))
    assert first.shape[0] in (3, 11, 12, 16)
    assert 0.3 < masks.float().mean() < 0.7
    assert group == dataset.groups[0]


def test_pictures_are_upright_and_masks_lie_on_them(tmp_path: Path) -> None:
    image, mask = noise(11, 9), drawn(11, 9)
    flipped = ITK @ np.diag([-1, 1, 1, 1]) + np.eye(4)[:, :1] @ np.array([[0, 0, 0, -5.0]])
    case(tmp_path / "kidney/Training/case01", image, {"task01_seg01": mask})
    save(tmp_path / "kidney/Training/case01/task01_seg02.nii.gz", mask[::-1], flipped)
    dataset = load(tmp_path)
    picture, masks, *_ = dataset[0]
    low, high = image.min(), image.max()
    assert_allclose(picture[0], (image.T - low) / (high - low), atol=1e-3)
    assert_array_equal(masks[0], mask.T)
    assert_array_equal(masks[1], mask.T)
    assert_allclose(dataset.spacing, [[0.25, 0.5]])


def test_spacing_and_masks_follow_the_size(tmp_path: Path) -> None:
    image = np.kron(noise(4, 8), np.ones((2, 2), np.float32))
    mask = np.kron(drawn(4, 8), np.ones((2, 2), np.uint8))
    case(tmp_path / "kidney/case01", image, {"task01_seg01": mask})
    dataset = load(tmp_path, size=16)
    assert dataset[0].image.shape == (1, 16, 16)
    assert_array_equal(dataset[0].masks[0], np.kron(mask.T, [[1, 1]])[:, ::1].reshape(16, 16))
    assert_allclose(dataset.spacing, [[0.25, 0.25]])  # 16 rows stay, 8 columns become 16


def test_an_image_that_is_made_smaller_is_averaged(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2).astype(np.float32)
    board[:32] += 2
    case(tmp_path / "kidney/case01", board, {"task01_seg01": drawn(64, 64)})
    columns = load(tmp_path, size=8)[0].image[0]
    assert_allclose(columns[:, :3], 1, atol=0.02)
    assert_allclose(columns[:, 5:], 0, atol=0.02)


PLACES = ["", "qubiq", "QUBIQ 2021 é", TRAINING, f"qubiq/{TRAINING}"]


@pytest.mark.parametrize("above", PLACES)
@pytest.mark.parametrize("middle", ["Training/", ""])
def test_every_layout_is_found(above: str, middle: str, tmp_path: Path) -> None:
    root = tmp_path / "mes données"
    write(root / above, "kidney", middle=middle)
    part = "Training/" if middle or TRAINING in above else ""
    assert load(root).ids == [f"{part}case01", f"{part}case02"]


def test_a_zip_file_will_do(tmp_path: Path) -> None:
    write(tmp_path / "data", "kidney")
    archive = Path(shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "data"))
    assert load(archive).fingerprint == load(tmp_path / "data").fingerprint


def test_training_and_validation_are_different_patients(tmp_path: Path) -> None:
    write(tmp_path / TRAINING, "kidney", cases=11)
    write(tmp_path / VALIDATION, "kidney", cases=1, middle="Validation/")
    dataset = load(tmp_path)
    numbers = [f"Training/case{number:02}" for number in range(1, 12)]
    assert dataset.ids == dataset.groups == [*numbers, "Validation/case01"]
    only = load(tmp_path / VALIDATION)
    assert only.ids == ["Validation/case01"]


def test_a_missing_rater_is_not_present_and_a_majority_is_nobody(tmp_path: Path) -> None:
    write(tmp_path, "prostate")
    folder = tmp_path / "prostate/Training/case02"
    (folder / "task01_seg05.nii.gz").unlink()
    save(folder / "task01_seg_majority.nii.gz", drawn(16, 10, 1))
    dataset = load(tmp_path, "prostate")
    assert dataset.annotators == 6
    assert_array_equal(dataset.present, [[1] * 6, [1, 1, 1, 1, 0, 1]])
    assert not dataset[1].masks[4].any()
    assert load(tmp_path, "prostate", 2).present.all()


def test_more_raters_than_expected_are_used(tmp_path: Path) -> None:
    write(tmp_path, "kidney")
    save(tmp_path / "kidney/Training/case01/task01_seg04.nii.gz", drawn(11, 11))
    assert_array_equal(load(tmp_path).present, [[1, 1, 1, 1], [1, 1, 1, 0]])


def test_masks_may_be_named_after_their_case(tmp_path: Path) -> None:
    write(tmp_path, "kidney")
    usual, folder = load(tmp_path)[0], tmp_path / "kidney/Training/case01"
    for path in folder.glob("task01_*"):
        path.rename(folder / path.name.replace("task01", "case01"))
    assert_array_equal(load(tmp_path)[0].masks, usual.masks)


def test_an_empty_case_is_kept(tmp_path: Path) -> None:
    empty = {f"task03_seg0{rater}": np.zeros((6, 5), np.uint8) for rater in (1, 2, 3)}
    case(tmp_path / "brain-tumor/Training/case01", noise(6, 5, 4), empty)
    sample = load(tmp_path, "brain-tumor", 3)[0]
    assert not sample.masks.any()
    assert sample.present is not None and sample.present.all()


def test_a_volume_gives_its_annotated_slices(tmp_path: Path) -> None:
    first, second = np.zeros((2, 5, 6, 7), np.uint8)
    first[1, 2, 3] = second[3, 4, 5] = 255
    image = noise(5, 6, 7)
    image[3] = 7  # a constant slice
    masks = {"task01_seg01": first, "task01_seg02": second.astype(np.float64)}
    case(tmp_path / "pancreas/case1-1", image, masks, np.eye(4))
    case(tmp_path / "pancreas/case2-1", image, {n: m * 0 for n, m in masks.items()}, np.eye(4))
    dataset = load(tmp_path, "pancreas")
    assert dataset.ids == ["case1-1/slice-1", "case1-1/slice-3"]
    assert dataset.groups == ["case1-1"] * 2
    batch = dataset.batch([0, 1])
    assert_array_equal(batch.masks[:, 0], first[[1, 3]] // 255)
    assert_array_equal(batch.masks[:, 1], second[[1, 3]] // 255)
    assert (batch.image[0].min(), batch.image[0].max()) == (0, 1)
    assert not batch.image[1].any()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def with_nan(path: Path) -> None:
    save(path, np.full((11, 11), np.nan, np.float32))


def claims_much(path: Path) -> None:
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[40:48] = np.array([3, 30000, 30000, 30000], np.int16).tobytes()
    path.write_bytes(gzip.compress(data))


IMAGE, MASK = "image.nii.gz", "task01_seg02.nii.gz"
FAULTS: dict[str, tuple[str, Any, str]] = {
    "truncated image": (IMAGE, cut, "not a complete NIfTI"),
    "truncated mask": (MASK, cut, "not a complete NIfTI"),
    "zero bytes": (MASK, lambda path: path.write_bytes(b""), "is empty"),
    "NaN": (IMAGE, with_nan, "NaN"),
    "NaN in a mask": (MASK, with_nan, "values nan"),
    "a huge claim": (IMAGE, claims_much, "30000x30000x30000"),
    "other size": (MASK, lambda path: save(path, drawn(11, 10)), "is 10x11, its image 11x11"),
    "grey mask": (MASK, lambda path: save(path, 128 * drawn(11, 11)), "values 128"),
    "nearly one": (
        MASK,
        lambda path: save(path, drawn(11, 11) * np.float32(0.99999)),
        "values 0.99999",
    ),
    "below zero": (MASK, lambda path: save(path, -drawn(11, 11).astype(np.int16)), "values -1"),
    "a mask of channels": (MASK, lambda path: save(path, drawn(11, 11, 3)), "has 3 channels"),
    "an image of channels": (IMAGE, lambda path: save(path, noise(11, 11, 3)), "has 3 channels"),
    "no image": (IMAGE, Path.unlink, "has no image.nii.gz"),
    "no masks": (
        MASK,
        lambda path: [mask.unlink() for mask in path.parent.glob("task*")],
        "has no annotation",
    ),
    "of another case": (
        MASK,
        lambda path: path.rename(path.with_name("case07_seg02.nii.gz")),
        "does not say",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_case_is_refused_or_left_out(fault: str, tmp_path: Path) -> None:
    name, spoil, why = FAULTS[fault]
    write(tmp_path, "kidney", cases=3)
    whole = load(tmp_path)
    spoil(tmp_path / "kidney/Training/case02" / name)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "Training/case02" in str(caught.value) and why in str(caught.value)
    rest = load(tmp_path, on_fault="skip")
    assert rest.ids == ["Training/case01", "Training/case03"]
    assert [why in line for line in rest.skipped] == [True]
    for index, other in enumerate((0, 2)):
        assert_array_equal(rest[index].image, whole[other].image)
        assert_array_equal(rest[index].masks, whole[other].masks)


@pytest.mark.parametrize("copy", ["qubiq/kidney/Training/case01/image.nii.gz", "image.nii"])
def test_what_is_there_twice_is_refused(copy: str, tmp_path: Path) -> None:
    write(tmp_path, "kidney")
    image = tmp_path / "kidney/Training/case01/image.nii.gz"
    other = tmp_path / copy if "/" in copy else image.with_name(copy)
    other.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(image, other)
    with pytest.raises(DataError, match="occurs twice"):
        load(tmp_path, on_fault="skip")


def test_a_case_that_cannot_be_reached_is_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, "kidney")
    (tmp_path / "kidney/Training/case03").symlink_to("/not/mounted/case03")
    with pytest.raises(DataError, match=r"/kidney/Training/case03 is a link to /not/mounted"):
        load(tmp_path)


def test_the_remedies_that_errors_name_work(tmp_path: Path) -> None:
    write(tmp_path, "kidney")
    usual, mask = load(tmp_path), tmp_path / "kidney/Training/case01" / MASK
    voxels = np.asarray(nibabel.load(mask).dataobj)
    save(mask, voxels * np.float32(0.99998))
    with pytest.raises(DataError, match=r"values 0\.99998 \(threshold=0\.\d+ makes two") as caught:
        load(tmp_path)
    assert "soft" not in str(caught.value)
    data = load(tmp_path, threshold=0.49999)
    assert_array_equal(data.batch([0, 1]).masks, usual.batch([0, 1]).masks)
    assert load(data.folder, threshold=0.49999).folder == data.folder
    with pytest.raises(OptionError, match=r"options: threshold=0\.7; .* data: threshold=0\.49999"):
        load(data.folder, threshold=0.7)
    away = ITK.copy()
    away[0, 3] = -0.5
    save(mask, voxels, away)
    with pytest.raises(DataError, match="resample_masks=True"):
        load(tmp_path)
    moved = load(tmp_path, resample_masks=True)[0].masks
    assert_array_equal(moved[1, :, 1:], usual[0].masks[1, :, :-1])
    assert_array_equal(moved[[0, 2]], usual[0].masks[[0, 2]])


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path, "kidney")
    ids = load(tmp_path).ids
    for place in ("kidney/loop", "kidney/Training/case07", "kidney/Training/case01/case01"):
        (tmp_path / place).symlink_to(tmp_path, target_is_directory=True)
    assert load(tmp_path).ids == ids


def test_sizes_that_vary_need_a_size(tmp_path: Path) -> None:
    for number, width in enumerate((10, 10, 12)):
        masks = {"task01_seg01": drawn(11, width)}
        case(tmp_path / f"kidney/Training/case0{number}", noise(11, width), masks)
    with pytest.raises(DataError, match=r"case02.*is 12x11, the first image 10x11.*size="):
        load(tmp_path)
    assert len(load(tmp_path, size=8)) == 3


def test_a_wrong_choice_gets_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'pancreas'"):
        qubiq("pancras", root=tmp_path)
    with pytest.raises(OptionError, match="tasks 1 to 2"):
        qubiq("prostate", 3, root=tmp_path)
    with pytest.raises(OptionError, match=r"size must be .*, not 0"):
        qubiq("prostate", 2, root=tmp_path, size=0)


def test_missing_data_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "kidney")
    with pytest.raises(
        MissingDataError,
        match=r"holds: kidney/ \(1 in it, such as Training\)\. .*register at https://qubiq21",
    ):
        load(tmp_path, "prostate")
    with pytest.raises(MissingDataError, match="nowhere"):
        load(tmp_path / "nowhere")
    monkeypatch.delenv("PROBSEG_DATA", raising=False)
    with pytest.raises(MissingDataError, match="PROBSEG_DATA"):
        qubiq("kidney")


def test_real_brain_growth(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "qubiq/brain-growth").is_dir():
        pytest.skip("PROBSEG_DATA has no qubiq/brain-growth")
    dataset = qubiq("brain-growth", root=data_root, cache=tmp_path, size=None)
    parts = [name.split("/")[0] for name in dataset.ids]
    assert (parts.count("Training"), parts.count("Validation")) == (34, 5)
    assert dataset.annotators == 7 and dataset.present.all()
    masks = dataset.batch(range(39)).masks.bool().numpy()
    pairs = [(m[a], m[b]) for m in masks for a, b in combinations(range(7), 2)]
    assert np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]) == pytest.approx(
        0.75, abs=0.005
    )
    path = data_root / "qubiq/brain-growth/Training/case02/image.nii.gz"
    voxels = np.asarray(nibabel.load(path).dataobj, np.float64)
    low, high = voxels.min(), voxels.max()
    assert_allclose(dataset[1].image[0], (voxels - low) / (high - low), atol=5e-4)
