"""What a survey finds, against brute force and planted faults."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from probseg.datasets.survey import (
    mean_over_pairs,
    measure,
    pairwise_iou,
    stands_apart,
    survey,
    with_others,
)
from probseg.interfaces import Batch, Sample
from probseg.metrics.ged import sample_diversity
from probseg.metrics.kernels import iou_cost

SHAPE = (3, 3, 4, 5)  # images, annotators, height, width


class Memory:
    """A data set that lies in memory."""

    name, channels, classes, provenance, fingerprint = "memory", 1, 2, "made up", "00"

    def __init__(self, image, masks, groups, present=None) -> None:
        self.image, self.masks, self.present = image, masks, present
        self.groups: Sequence[str] = groups
        self.annotators = masks.shape[1]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.image[index], self.masks[index], self.groups[index])

    def batch(self, indices: Sequence[int]) -> Batch:
        rows = list(indices)
        present = None if self.present is None else self.present[rows]
        return Batch(self.image[rows], self.masks[rows], present)


def by_sets(masks, a: int, b: int) -> float | None:
    """The IoU by Python's sets of pixels, the mean over classes; None where both are empty."""
    values = []
    for k in (1, 2):
        first, second = (set(np.flatnonzero(masks[who] == k).tolist()) for who in (a, b))
        values.append(len(first & second) / len(first | second) if first | second else None)
    return None if values == [None, None] else mean([1.0 if v is None else v for v in values])


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2])),
    arrays(np.bool_, SHAPE[:2]),
)
def test_agreement_is_that_of_sets_of_pixels(masks, present):
    iou = pairwise_iou(torch.from_numpy(masks), 3)
    here = torch.from_numpy(present)
    one = mean_over_pairs(iou, here, both_empty=1.0)
    drawn = mean_over_pairs(iou, here, both_empty=math.nan)
    for index in range(SHAPE[0]):
        pairs = [p for p in itertools.combinations(range(SHAPE[1]), 2) if present[index, p].all()]
        values = [by_sets(masks[index], *pair) for pair in pairs]
        known = [value for value in values if value is not None]
        filled = [1.0 if value is None else value for value in values]
        assert one[index].item() == pytest.approx(mean(filled), nan_ok=True, abs=1e-6)
        assert drawn[index].item() == pytest.approx(mean(known), nan_ok=True, abs=1e-6)
        for who in range(SHAPE[1]):
            own = [v for v, p in zip(values, pairs, strict=True) if who in p and v is not None]
            found = with_others(iou, here)[index, who].item()
            assert found == pytest.approx(mean(own), nan_ok=True, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 1, 2, 4])))
def test_means_over_classes_are_those_of_the_metrics(masks):
    labels = torch.from_numpy(masks)
    ours = pairwise_iou(labels, 5).nan_to_num(1.0)  # both empty
    assert torch.allclose(1 - ours.double(), iou_cost(labels, labels, classes=5), atol=1e-6)
    everybody = torch.ones(SHAPE[:2], dtype=torch.bool)
    pairs = mean_over_pairs(pairwise_iou(labels, 5), everybody, both_empty=1.0)
    apart = sample_diversity(labels, classes=5) * SHAPE[1] / (SHAPE[1] - 1)  # without the diagonal
    assert torch.allclose(1 - pairs.double(), apart, atol=1e-6)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def test_who_draws_elsewhere_stands_apart_and_who_draws_nothing_does_not():
    masks = torch.zeros(2, 4, 10, 10, dtype=torch.uint8)
    masks[:, :3, 2:5, 2:5] = 1
    masks[0, 3, 7:9, 7:9] = 1
    drew = (masks > 0).flatten(2).any(2)
    expected = torch.tensor([[False, False, False, True], [False] * 4])
    assert torch.equal(stands_apart(pairwise_iou(masks, 2), drew), expected)


def test_who_draws_elsewhere_stands_apart_though_most_classes_are_in_no_mask():
    masks = torch.zeros(1, 4, 10, 10, dtype=torch.uint8)
    masks[:, :3, 2:5, 2:5] = 4
    masks[:, 3, 7:9, 7:9] = 4
    batch = Batch(torch.rand(1, 1, 10, 10), masks)
    assert measure(batch, 5).apart.tolist() == [[False, False, False, True]]


def test_two_who_disagree_do_not_stand_apart():
    masks = torch.zeros(1, 2, 10, 10, dtype=torch.uint8)
    masks[0, 0, :3], masks[0, 1, 6:] = 1, 1
    assert not stands_apart(pairwise_iou(masks, 2), torch.ones(1, 2, dtype=torch.bool)).any()


@pytest.fixture
def faulty() -> Memory:
    """A hundred sound samples, but for what each test's numbers name."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand(100, 1, 12, 12, generator=random)
    masks = torch.zeros(100, 3, 12, 12, dtype=torch.uint8)
    masks[:, :, 4:8, 4:8] = 1
    present = torch.ones(100, 3, dtype=torch.bool)
    groups = [f"case{index // 2}" for index in range(100)]
    image[11] = image[10]  # the same case
    image[21] = image[30]  # another one
    image[40] = 0.5
    image[41, 0, 3, 3] = torch.nan
    masks[50] = 0
    masks[51, 1] = 0  # one who found nothing
    masks[52, 2, 0, 5] = 1  # which touches the border, and may
    masks[53, 0] = 1
    masks[54, 2, 5, 5] = 7
    masks[55, 1] = 0
    masks[55, 1, 9:11, 9:11] = 1  # four pixels elsewhere
    masks[60, 0] = 1 - masks[60, 0]
    masks[61, 1] = 0
    masks[61, 1, 5, 5:7] = 1
    present[56], masks[56] = False, 0
    present[57, 2], masks[57, 2] = False, 0
    return Memory(image, masks, groups, present)


def test_planted_faults_are_found_and_nothing_else(faulty):
    found = survey(faulty)
    leak = "the same image in another group: it can be on both sides of a split"
    assert {finding.what: list(finding.samples) for finding in found.findings} == {
        "annotators 0, 1, 2 drew exactly the same in most images that two of them drew on (93 of "
        "97)": [],
        "nobody annotated it": [56],
        "every mask is empty": [50],
        "a constant image": [40],
        "an annotator far from the others, who agree": [55, 60],
        "a mask covers nearly the whole image": [53],
        "a mask looks inverted: foreground covers more than half of the image, and its border": [
            60
        ],
        "a mask of a few pixels only": [55, 61],
        leak: [21, 30],
        "the same image again in its group": [10, 11],
    }
    wrong = [finding.what for finding in found.findings if finding.wrong]
    assert len(wrong) == 2 and leak in wrong and not found.sound
    assert found.damaged == {
        "NaN or infinity in the image": [41],
        "a class beyond the declared 2": [54],
    }
    assert found.size == (12, 12)
    assert found.measures.present.sum(0).tolist() == [99, 99, 98]
    assert found.measures.empty.sum(0).tolist() == [1, 2, 1]


def test_a_survey_reads_every_sample_once_and_few_at_a_time(faulty):
    asked: list[int] = []
    sizes: list[int] = []

    class Watched(Memory):
        def batch(self, indices):
            asked.extend(indices)
            sizes.append(len(indices))
            return super().batch(indices)

    told: list[int] = []
    survey(Watched(faulty.image, faulty.masks, faulty.groups), told.append)
    assert asked == list(range(100))
    assert max(sizes) <= 64
    assert told == sizes
