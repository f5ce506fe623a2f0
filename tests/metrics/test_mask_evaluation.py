"""Masks of two folders, scored as a loop over files scores them; folders that do not match."""

import gc
from unicodedata import normalize

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from probseg.datasets.mask_folders import MaskFolders
from probseg.errors import DataError, MissingDataError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.mask_evaluation import evaluate_masks
from probseg.metrics.score_collector import ScoreCollector, choose_metrics
from tests.helpers.mask_scores import mask_scores

METRICS = ["ged", "hungarian-iou", "w-iou"]


def _write(folder, counts, *, classes=2, size=(12, 10), seed=0, scale=1):
    """Write random masks of each image, and return them."""
    random, written = np.random.default_rng(seed), {}
    for name, count in counts.items():
        masks = random.integers(classes, size=(count, *size), dtype=np.uint8)
        for index, mask in enumerate(masks):
            path = folder / name / f"mask{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask * np.uint8(scale)).save(path)
        written[name] = masks
    return written


def _expected(samples, annotations, classes):
    """Return the value of each metric and image, image by image."""
    rows = {name: [] for name in METRICS}
    for name, drawn in annotations.items():
        one_hot = functional.one_hot(torch.from_numpy(samples[name]).long(), classes)
        evaluation = Evaluation(one_hot.movedim(-1, 1).float()[None], torch.from_numpy(drawn)[None])
        for metric, value in compute_metrics(evaluation, METRICS).items():
            rows[metric].append(value.item())
    return rows


@pytest.mark.parametrize(("classes", "scale"), [(2, 1), (2, 255), (4, 1)])
def test_values_are_those_of_a_loop_over_the_files(tmp_path, classes, scale):
    counts = {f"case{index}": 3 + index % 2 for index in range(1, 21)}
    samples = _write(tmp_path / "s", counts, classes=classes, scale=scale)
    annotations = _write(tmp_path / "a", dict.fromkeys(counts, 2), classes=classes, seed=1)
    folders = [MaskFolders(tmp_path / side, classes=classes) for side in "sa"]
    scores = evaluate_masks(*folders, metrics=METRICS, progress=False)
    assert scores.ids == list(counts) and scores.samples == "3 to 4"
    for metric, values in _expected(samples, annotations, classes).items():
        np.testing.assert_allclose(scores[metric], values, rtol=0, atol=1e-12)


def _discs(random, count, size=24):
    """Draw discs around one place, some of them empty."""
    y, x = np.mgrid[:size, :size]
    row, column, radius = random.uniform(size / 4, size * 3 / 4, 3)
    distances = [np.hypot(y - row - random.normal(), x - column) for _ in range(count)]
    reaches = radius / 2 * random.uniform(0.5, 1.5, count) * (random.random(count) > 0.2)
    return np.array([d < reach for d, reach in zip(distances, reaches, strict=True)], np.uint8)


def test_every_metric_is_what_numpy_and_scipy_compute(tmp_path):
    random, expected = np.random.default_rng(14), []
    for index in range(24):  # 16 samples, and 1 to 4 annotators
        both = _discs(random, 20)
        samples, annotations = both[:16], both[16 : 17 + index % 4]
        expected.append(mask_scores(samples, annotations))
        folder = tmp_path / "s" / f"case{index}"
        folder.mkdir(parents=True)
        np.savez_compressed(folder / "samples.npz", samples)
        (tmp_path / "a" / f"case{index}").mkdir(parents=True)
        for number, mask in enumerate(annotations):
            file = tmp_path / "a" / f"case{index}" / f"reader{number}.png"
            Image.fromarray(mask * np.uint8(255)).save(file)
    folders = MaskFolders(tmp_path / "s"), MaskFolders(tmp_path / "a")
    scores = evaluate_masks(*folders, progress=False)
    assert set(scores) == set(expected[0]) and not scores.problems
    for name in scores:
        values = [row[name] for row in expected]
        np.testing.assert_allclose(scores[name], values, rtol=0, atol=1e-9, err_msg=name)


def test_scored_images_leave_numbers_and_no_tensors():
    def alive():
        return sum(type(one) is torch.Tensor for one in gc.get_objects())

    evaluation = Evaluation(torch.eye(2)[None, None, :, :, None], torch.ones(1, 1, 2, 1).long())
    collector, before = ScoreCollector(choose_metrics(METRICS, latent=False)), alive()
    for _ in range(20):
        collector.add(evaluation)
    assert alive() == before  # thousands of small ones among large ones would cost 140 KiB an image
    assert collector.values()["w-iou"].tolist() == [0.5] * 20


def test_a_metric_with_another_number_of_values_is_told_and_costs_no_other():
    collector = ScoreCollector(
        {"sum": lambda _: torch.ones(3), **choose_metrics(METRICS, latent=False)}
    )
    evaluation = Evaluation(torch.eye(2)[None, None, :, :, None], torch.ones(1, 1, 2, 1).long())
    collector.add(evaluation)
    assert "'[1]' is invalid for input of size 3" in collector.problems["sum"]
    assert np.isnan(collector.values()["sum"]).all() and len(collector.values()["ged"]) == 1


def test_an_archive_of_masks_holds_one_array(tmp_path):
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "masks.npz"
    np.savez(file, np.zeros((2, 8, 8), np.uint8), np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"masks.npz: has 2 arrays; save one"):
        MaskFolders(tmp_path).read("a")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"masks.npz: is not a complete .npz file"):
        MaskFolders(tmp_path).read("a")


def test_arrays_and_folders_called_masks_are_read_alike(tmp_path):
    samples = _write(tmp_path / "s" / "masks", {"a": 3, "b": 3})
    for name, masks in samples.items():
        (tmp_path / "n" / name).mkdir(parents=True)
        np.save(tmp_path / "n" / name / "samples.npy", masks)
    one, other = MaskFolders(tmp_path / "s"), MaskFolders(tmp_path / "n")
    for name in ("a", "b"):
        np.testing.assert_array_equal(one.read(name), other.read(name))
    assert evaluate_masks(one, other, metrics=["ged"], progress=False).mean()["ged"] == 0


_DRAWN = np.zeros((12, 10), np.uint8)
_DRAWN[2:5, 1:7] = 1
_AFFINE = np.diag([-0.5, -0.5, 1, 1])
_TURNED = np.array([[0.5, 0, 0, -5.5], [0, 0.5, 0, -4.5], [0, 0, 1, 0], [0, 0, 0, 1]])


def _one_nifti(folder, mask, affine):
    (folder / "case").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "case" / "a.nii.gz")
    return MaskFolders(folder)


@pytest.mark.parametrize(
    ("mask", "affine"),
    [(_DRAWN, _AFFINE), (_DRAWN, np.eye(4)), (_DRAWN[::-1, ::-1], _TURNED)],
    ids=["the same", "no place", "turned"],
)
def test_masks_of_one_place_are_compared_there(tmp_path, mask, affine):
    samples = _one_nifti(tmp_path / "s", mask, affine)
    annotations = _one_nifti(tmp_path / "a", _DRAWN, _AFFINE)
    assert evaluate_masks(samples, annotations, metrics=["w-iou"], progress=False)["w-iou"] == 0


@pytest.mark.parametrize("affine", [_AFFINE * 2, np.diag([0.5, 0.5, 1, 1])])
def test_masks_that_lie_elsewhere_are_no_samples(tmp_path, affine):
    samples = _one_nifti(tmp_path / "s", _DRAWN, affine)
    annotations = _one_nifti(tmp_path / "a", _DRAWN, _AFFINE)
    with pytest.raises(DataError, match=r"lies elsewhere than the annotations, by .* resample it"):
        evaluate_masks(samples, annotations, progress=False)


def test_orientation_must_be_known_of_both_or_neither(tmp_path):
    annotations = _one_nifti(tmp_path / "a", _DRAWN, _AFFINE)
    _write(tmp_path / "s", {"case": 1})
    with pytest.raises(DataError, match=r"case: .* so their orientation is unknown; save both"):
        evaluate_masks(MaskFolders(tmp_path / "s"), annotations, progress=False)
    _write(tmp_path / "a", {"case": 1})
    with pytest.raises(DataError, match=r"mask0\.png: tells no place, beside masks that do"):
        MaskFolders(tmp_path / "a").read("case")


def test_groups_decide_the_intervals(tmp_path):
    counts = {f"case{index}": 2 for index in range(6)}
    _write(tmp_path / "s", counts)
    _write(tmp_path / "a", counts, seed=1)
    groups = {name: f"patient{index % 2}" for index, name in enumerate(counts)}
    folders = MaskFolders(tmp_path / "s"), MaskFolders(tmp_path / "a")
    scores = evaluate_masks(*folders, metrics=["ged"], groups=groups, progress=False)
    values = scores["ged"]
    assert scores.groups == list(groups.values())
    ends = sorted((values[::2].mean(), values[1::2].mean()))
    assert scores.summary()["ged"][1:3] == pytest.approx(ends)


def test_folders_that_do_not_match_are_named(tmp_path):
    _write(tmp_path / "s", {"a": 2, "b": 2})
    _write(tmp_path / "a", {"a": 2, "b": 2, "c": 2, "d": 2})
    samples, annotations = MaskFolders(tmp_path / "s"), MaskFolders(tmp_path / "a")
    with pytest.raises(DataError, match=r"2 images of .* have no samples in .*: c, d; .*--common"):
        evaluate_masks(samples, annotations, progress=False)
    with pytest.raises(DataError, match="have no annotations in"):
        evaluate_masks(annotations, samples, progress=False)
    scores = evaluate_masks(samples, annotations, metrics=["ged"], common=True, progress=False)
    assert scores.ids == ["a", "b"]
    _write(tmp_path / "other", {"x": 2})
    with pytest.raises(DataError, match="no image is in all of"):
        evaluate_masks(MaskFolders(tmp_path / "other"), samples, common=True, progress=False)


def test_masks_that_cannot_be_compared_are_named(tmp_path):
    _write(tmp_path / "s", {"a": 2}, size=(8, 8))
    _write(tmp_path / "a", {"a": 2}, size=(9, 8))
    folders = MaskFolders(tmp_path / "s"), MaskFolders(tmp_path / "a")
    with pytest.raises(DataError, match=r"a: the samples are \(8, 8\) pixels, the annotations"):
        evaluate_masks(*folders, progress=False)
    _write(tmp_path / "g", {"a": 1}, scale=77)
    with pytest.raises(DataError, match=r"g/a/mask0.png: is no mask of 0 and 1"):
        MaskFolders(tmp_path / "g").read("a")
    _write(tmp_path / "s2", {"a": 1}, size=(8, 8))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "s2/a/mask1.png")
    with pytest.raises(DataError, match=r"mask1.png is \(9, 9\), .*mask0.png is \(8, 8\)"):
        MaskFolders(tmp_path / "s2").read("a")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "s2/a/mask0.png")
    with pytest.raises(DataError, match="has 3 channels; a mask has one"):
        MaskFolders(tmp_path / "s2").read("a")


def test_a_folder_without_masks_says_what_it_wants(tmp_path):
    with pytest.raises(MissingDataError, match=r"there is no folder .*give the one that holds"):
        MaskFolders(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(MissingDataError, match=r"holds no masks ID/\*.png .*holds: notes.txt"):
        MaskFolders(tmp_path)


def test_an_image_without_a_group_is_refused(tmp_path):
    counts = {"case0": 2, "case1": 2, normalize("NFD", "fälle"): 2}
    _write(tmp_path / "s", counts)
    _write(tmp_path / "a", counts, seed=1)
    folders = MaskFolders(tmp_path / "s"), MaskFolders(tmp_path / "a")
    how = {"metrics": ["ged"], "progress": False}
    groups = {"case0": "p", "case1.png": "p", "fälle": "q"}
    with pytest.raises(DataError, match=r"1 of 3 images have no group: case1; .*called case1\.png"):
        evaluate_masks(*folders, groups=groups, **how)
    groups["case1"] = groups.pop("case1.png")
    assert evaluate_masks(*folders, groups=groups, **how).groups == ["p", "p", "q"]
