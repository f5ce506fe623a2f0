"""Pixels that nobody labelled and soft masks, from files to annotators, surveys and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import probseg
from probseg.datasets.annotators import annotation, complete, majority_vote, staple
from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.folder import folder
from probseg.datasets.mask_folders import MaskFolders
from probseg.datasets.survey import survey
from probseg.errors import DataError
from probseg.interfaces import Batch
from probseg.metrics.ged import sample_diversity
from probseg.metrics.mask_evaluation import evaluate_masks
from probseg.testing import checks

SIZE = (9, 7)


def write(root: Path, *, classes: int = 2, soft: bool = False, hidden: float = 0.2) -> np.ndarray:
    """Write images and the masks of two annotators, and return the masks (N, 2, H, W)."""
    random = np.random.default_rng(0)
    shape = (6, 2, *SIZE)
    masks = random.random(shape) if soft else random.integers(0, classes, shape, np.uint8)
    masks[random.random(shape) < hidden] = 255
    for index, drawn in enumerate(masks):
        for path, pixels in {
            f"images/case{index}.npy": random.random(SIZE).astype(np.float32),
            f"masks/case{index}/ann.npy": drawn[0],
            f"masks/case{index}/ben.npy": drawn[1],
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            np.save(root / path, pixels)
    return masks


def load(root: Path, **options: object) -> PackedDataset:
    return folder(root, cache=root.parent / f"{root.name}-cache", progress=False, **options)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_folder_keeps_what_nobody_labelled(classes, tmp_path):
    masks = write(tmp_path / "data", classes=classes)
    data = load(tmp_path / "data", values={255: "ignore"})
    assert (data.classes, data.ignore_index, data.soft) == (classes, 255, False)
    read = data.batch(range(6)).masks
    assert read.dtype == torch.uint8 and np.array_equal(read, masks)
    again = PackedDataset(data.folder)
    assert again.ignore_index == 255 and again.fingerprint == data.fingerprint
    for check in checks["dataset"]:
        check(lambda: again)


def test_in_memory_it_is_255_whatever_the_file_has(tmp_path):
    masks = write(tmp_path / "data", classes=3).astype(np.int16)
    masks[masks == 255] = -7
    for index, name in np.ndindex(6, 2):
        np.save(tmp_path / f"data/masks/case{index}/{('ann', 'ben')[name]}.npy", masks[index, name])
    data = load(tmp_path / "data", values={-7: "ignore", 2: 1})
    wanted = np.where(masks == -7, 255, np.minimum(masks, 1))
    assert np.array_equal(data.batch(range(6)).masks, wanted) and data.classes == 2


def test_soft_masks_are_kept(tmp_path):
    masks = write(tmp_path / "data", soft=True)
    with pytest.raises(DataError, match="is no mask of 0 and 1"):
        load(tmp_path / "data")
    data = load(tmp_path / "data", soft=True, values={255: "ignore"})
    read = data.batch(range(6)).masks
    assert data.soft and read.dtype == torch.float32
    np.testing.assert_allclose(read, masks, rtol=2**-10)
    for check in checks["dataset"]:
        check(lambda: data)
    hard = load(tmp_path / "data", threshold=0.5, values={255: "ignore"})
    wanted = np.where(masks == 255, 255, masks > 0.5)
    assert np.array_equal(hard.batch(range(6)).masks, wanted) and not hard.soft


def test_options_are_of_the_cache(tmp_path):
    write(tmp_path / "data", hidden=0)
    plain, ignoring = load(tmp_path / "data"), load(tmp_path / "data", values={255: "ignore"})
    assert plain.folder != ignoring.folder and plain.ignore_index is None
    assert load(tmp_path / "data", values={"255": "ignore"}).folder == ignoring.folder
    inverted = load(tmp_path / "data", invert=True)
    assert (inverted[0].masks == 1 - plain[0].masks).all()


def test_without_such_pixels_masks_of_two_classes_stay_bits(tmp_path):
    write(tmp_path / "data", hidden=0)
    plain, ignoring = load(tmp_path / "data"), load(tmp_path / "data", values={255: "ignore"})
    sizes = [np.load(one.folder / "masks.npy", mmap_mode="r").shape for one in (plain, ignoring)]
    assert sizes == [(6, 2, 8), (6, 2, *SIZE)]


def test_who_labelled_no_pixel_is_absent(tmp_path):
    write(tmp_path / "data")
    np.save(tmp_path / "data/masks/case2/ben.npy", np.full(SIZE, 255, np.uint8))
    data = load(tmp_path / "data", values={255: "ignore"})
    assert data.present.tolist() == [[True, index != 2] for index in range(6)]
    assert not data[2].masks[1].any()
    np.save(tmp_path / "data/masks/case2/ann.npy", np.full(SIZE, 255, np.uint8))
    with pytest.raises(DataError, match="case2: nobody labelled a pixel of it"):
        load(tmp_path / "data", values={255: "ignore"})


def test_a_resized_mask_keeps_its_values(tmp_path):
    write(tmp_path / "data", classes=3)
    data = load(tmp_path / "data", size=20, values={255: "ignore"})
    assert set(data.batch(range(6)).masks.unique().tolist()) == {0, 1, 2, 255}


# Annotators


@st.composite
def drawings(draw):
    shape = tuple(draw(st.integers(1, 4)) for _ in range(4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    masks = torch.randint(3, shape, generator=generator, dtype=torch.uint8)
    masks[torch.rand(shape, generator=generator) < 0.4] = 255
    present = torch.rand(shape[:2], generator=generator) < 0.8
    return masks, present


@settings(deadline=None)
@given(drawings())
def test_the_majority_is_of_those_who_labelled_a_pixel(case):
    masks, present = case
    found = majority_vote(masks, present, 255)
    for b, y, x in np.ndindex(found.shape):
        votes = [k for k in masks[b, present[b], y, x].tolist() if k != 255]
        wanted = min(set(votes), key=lambda k: (-votes.count(k), k)) if votes else 255
        assert found[b, y, x] == wanted


@settings(deadline=None)
@given(drawings())
def test_complete_leaves_out_who_labelled_nothing(case):
    masks, present = case
    batch = Batch(torch.zeros(len(masks), 1, *masks.shape[2:]), masks, present)
    who = present & (masks != 255).flatten(2).any(2)
    parts = list(complete(batch, 255))
    assert [len(one) for part in parts for one in part.masks] == who.sum(1).tolist()
    kept = [mask for part in parts for one in part.masks for mask in one]
    assert all(
        one.equal(other)
        for one, other in zip(
            kept, [mask for b, mask in enumerate(masks) for mask in mask[who[b]]], strict=True
        )
    )


def test_staple_is_that_of_the_pixels_that_all_labelled():
    pytest.importorskip("SimpleITK")
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(12, 10, generator=generator) < 0.4
    wrong = torch.rand(5, 12, 10, generator=generator) < torch.linspace(0.05, 0.4, 5)[:, None, None]
    masks = (truth ^ wrong).byte()[None]
    hidden = masks.clone()
    hidden[:, :, 8:] = 255  # nobody labelled
    hidden[:, :2, 0] = 255  # three of five did
    found = staple(hidden, ignore_index=255)[0]
    assert found[1:8].equal(staple(torch.cat([masks[:, :, 1:8]], 2))[0])
    assert (found[8:] == 255).all()
    assert found[0].equal(majority_vote(masks[:, 2:])[0, 0])
    assert staple(masks, ignore_index=255).equal(staple(masks))


def test_annotations_by_name_ignore():
    masks = torch.tensor([[[[255, 255, 1]], [[255, 1, 1]], [[255, 0, 0]]]], dtype=torch.uint8)
    batch = Batch(torch.zeros(1, 1, 1, 3), masks)
    assert annotation(batch, "majority", ignore_index=255).tolist() == [[[255, 0, 1]]]
    assert annotation(batch, 1).tolist() == [[[255, 1, 1]]]


def test_a_value_beyond_a_byte_is_in_no_mask():
    masks = torch.tensor([[[[156, 0]]]], dtype=torch.uint8)
    assert majority_vote(masks, ignore_index=-100).equal(masks[:, 0])
    (part,) = complete(Batch(torch.zeros(1, 1, 1, 2), masks), -100)
    assert part.masks.equal(masks)


# The survey behind `probseg data check`


def test_a_survey_measures_what_was_labelled(tmp_path):
    masks = write(tmp_path / "data", classes=2)
    masks[0, :, :, :3] = 255
    masks[0, :, :, 3:] = 1  # all that was labelled
    for name, mask in zip(("ann", "ben"), masks[0], strict=True):
        np.save(tmp_path / f"data/masks/case0/{name}.npy", mask)
    found = survey(load(tmp_path / "data", values={255: "ignore"}))
    assert not found.damaged
    told = {one.what: one.samples for one in found.findings}
    assert told["a mask covers nearly the whole image"] == [0]
    labelled = masks != 255
    np.testing.assert_allclose(found.measures.labelled, labelled.mean((2, 3)), rtol=1e-6)
    area = (masks == 1).sum((2, 3)) / labelled.sum((2, 3))
    np.testing.assert_allclose(found.measures.area, area, rtol=1e-6)
    tensors = torch.from_numpy(masks)
    diversity = sample_diversity(tensors, ignore_index=255)  # both orders of two, of four pairs
    np.testing.assert_allclose(found.measures.iou, 1 - 2 * diversity, rtol=1e-5)


# Folders of masks, as `probseg score` reads them


def test_masks_are_scored_where_annotators_labelled(tmp_path):
    random = np.random.default_rng(0)
    for name in "abc":
        predicted = random.integers(0, 2, (3, 8, 8), np.uint8)
        drawn = random.integers(0, 2, (2, 8, 8), np.uint8)
        hidden = drawn.copy()
        hidden[:, 5:] = 255
        for what, stack in {
            "predicted": predicted,
            "hidden": hidden,
            "cut": drawn[:, :5],
            "cut-predicted": predicted[:, :5],
        }.items():
            (tmp_path / what / name).mkdir(parents=True)
            np.save(tmp_path / what / name / "masks.npy", stack)

    def scores(samples, annotations, **options):
        sides = MaskFolders(tmp_path / samples), MaskFolders(tmp_path / annotations, **options)
        return evaluate_masks(*sides, metrics=["ged", "w-iou", "ncc"], progress=False)

    found = scores("predicted", "hidden", values={255: "ignore"})
    wanted = scores("cut-predicted", "cut")
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-12)
    with pytest.raises(DataError, match=r'values=\{255: "ignore"\}'):
        scores("predicted", "hidden")


def test_a_mask_of_which_nothing_was_labelled_is_no_annotation(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a/1.npy", np.full((4, 4), 255, np.uint8))
    masks = MaskFolders(tmp_path, values={255: "ignore"})
    with pytest.raises(DataError, match="every pixel of every mask is ignored"):
        masks.read("a")
    np.save(tmp_path / "a/2.npy", np.eye(4, dtype=np.uint8))
    masks = MaskFolders(tmp_path, values={255: "ignore"})
    assert masks.read("a").tolist() == [np.eye(4).tolist()]


def test_an_image_that_nobody_labelled_is_named_in_evaluation():
    class Empty:
        name, channels, classes, annotators, ignore_index = "empty", 1, 2, 1, 255
        groups, fingerprint, provenance = ("a",), "0" * 16, "nothing"

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return self.batch([index])

        def batch(self, indices):
            masks = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
            return Batch(torch.zeros(1, 1, 8, 8), masks)

    model = probseg.build("deterministic", backbone={"name": "unet", "channels": [4, 8]})
    with pytest.raises(DataError, match=r"nobody labelled a pixel of an image of data set 'empty'"):
        probseg.evaluate(model, Empty(), n=1, progress=False)
