"""Probabilities in files come out as they were written, and what is none is told."""

import numpy as np
import pytest
import torch
from PIL import Image

from probseg.datasets.mask_folders import MaskFolders
from probseg.datasets.probability_folders import ProbabilityFolders
from probseg.errors import DataError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.mask_evaluation import evaluate_masks


def written(folder, array, name="0.npy"):
    (folder / "case").mkdir(parents=True, exist_ok=True)
    if name.endswith(".npz"):
        np.savez(folder / "case" / name, array)
    elif name.endswith(".npy"):
        np.save(folder / "case" / name, array)
    else:
        Image.fromarray(array).save(folder / "case" / name)
    return folder


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["0.npy", "0.npz"])
def test_the_foregrounds_probability_of_two_classes(tmp_path, kind, name):
    p = np.random.default_rng(0).random((3, 4, 5)).astype(kind)
    read = ProbabilityFolders(written(tmp_path, p, name)).read("case")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read[:, 1], p.astype(np.float32))
    np.testing.assert_allclose(read.sum(1), 1, atol=1e-6)


def test_grey_pictures(tmp_path):
    grey = np.array([[0, 51, 255]], np.uint8)
    read = ProbabilityFolders(written(tmp_path, grey, "0.png")).read("case")
    np.testing.assert_allclose(read[0, 1], [[0, 0.2, 1]], atol=1e-7)


def test_samples_of_several_files_are_in_their_natural_order(tmp_path):
    for number in (10, 2):
        written(tmp_path, np.full((2, 2), number / 100), f"{number}.npy")
    read = ProbabilityFolders(tmp_path).read("case")
    np.testing.assert_allclose(read[:, 1, 0, 0], [0.02, 0.1])


@pytest.mark.parametrize("several", [False, True])
def test_more_classes(tmp_path, several):
    p = np.random.default_rng(0).dirichlet(np.ones(3), (2, 4, 5)).transpose(0, 3, 1, 2)
    given = p if several else p[0]
    read = ProbabilityFolders(written(tmp_path, given), classes=3).read("case")
    np.testing.assert_allclose(read, p if several else p[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("array", "classes", "message"),
    [
        (np.array([[-2.0, 3.0]]), 2, "from -2 to 3.*take their sigmoid"),
        (np.array([[np.nan, 0.5]]), 2, "NaN or infinite"),
        (np.array([[[0.2]], [[0.8]]]), 2, "background and foreground"),
        (np.array([[0, 1]], np.uint8), 2, "if these are masks"),
        (np.zeros((2, 2, 2, 2)), 2, r"not \(H, W\) or \(N, H, W\)"),
        (np.zeros((2, 4, 4)), 3, "of K = 3 classes"),
        (np.full((3, 4, 4), 0.5), 3, "sum to 1.5 to 1.5"),
    ],
)
def test_what_is_no_probability_is_told_with_its_file(tmp_path, array, classes, message):
    with pytest.raises(DataError, match=f"0.npy.*{message}"):
        ProbabilityFolders(written(tmp_path, array), classes=classes).read("case")


def test_they_are_scored_as_probabilities(tmp_path):
    random = np.random.default_rng(1)
    p, drawn = random.random((4, 8, 8)), random.integers(2, size=(3, 8, 8), dtype=np.uint8)
    samples = written(tmp_path / "samples", p)
    masks = written(tmp_path / "masks", drawn)
    names = ["w-cross-entropy", "brier", "ece", "ged"]
    found = evaluate_masks(ProbabilityFolders(samples), MaskFolders(masks), metrics=names)
    both = torch.from_numpy(np.stack([1 - p, p], axis=1)).float()[None]
    wanted = compute_metrics(Evaluation(both, torch.from_numpy(drawn)[None]), names)
    for name in names:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)


def test_what_interpolation_leaves_beyond_the_ends_is_cut(tmp_path):
    read = ProbabilityFolders(written(tmp_path, np.array([[-1e-6, 1 + 1e-6]]))).read("case")
    assert read[0, 1].tolist() == [[0, 1]]
