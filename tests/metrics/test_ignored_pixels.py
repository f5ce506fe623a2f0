"""Pixels that nobody labelled are left out of every metric, as loops over pixels say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from partly_labelled import partly_labelled, prepared
from scipy.spatial.distance import directed_hausdorff

from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.ged import generalised_energy_distance, sample_diversity
from probseg.metrics.hausdorff import hausdorff_cost
from probseg.metrics.kernels import EPSILON, cross_entropy_cost, dice_cost, iou_cost
from probseg.metrics.matching import hungarian_iou, wasserstein
from probseg.metrics.ncc import normalised_cross_correlation
from probseg.metrics.streaming import StreamingMetric

NAMES = (
    *("ged", "ged-cross", "diversity", "annotator-diversity", "w-iou", "w-dice", "w-hausdorff"),
    *("w-cross-entropy", "hungarian-iou", "rectangular-iou", "ncc"),
    *("ged16", "dice-match", "dice-max", "collective-insight", "threshold-dice"),
    *("aurc", "brier", "ece", "ace", "volume-crps", "empty-share", "annotator-empty-share"),
    *("nestedness", "annotator-nestedness"),
)
unhurried = settings(deadline=None, max_examples=25)  # the first call compiles


def pairs(left, right):
    """Yield b, i, j and two maps, for every pair of maps of each image."""
    for b in range(len(left)):
        for i, j in np.ndindex(left.shape[1], right.shape[1]):
            yield (b, i, j), left[b, i], right[b, j]


def overlap_loop(left, right, classes, score):
    """Return 1 - the mean score (B, N, A) of maps in which -1 is ignored."""
    costs = np.empty((len(left), left.shape[1], right.shape[1]))
    for at, x, y in pairs(left, right):
        both = (x >= 0) & (y >= 0)
        costs[at] = 1 - np.mean([score(x[both] == k, y[both] == k) for k in range(1, classes)])
    return costs


def iou(x, y):
    return (x & y).sum() / (x | y).sum() if (x | y).any() else 1.0


def dice(x, y):
    return 2 * (x & y).sum() / (x.sum() + y.sum()) if (x | y).any() else 1.0


@unhurried
@given(partly_labelled())
def test_overlap_is_that_of_the_pixels_that_both_have(case):
    probabilities, annotations, ignore, classes = case
    labels, drawn, seen = prepared(case)
    given_ = probabilities.argmax(2), annotations
    options = {"classes": classes, "ignore_index": ignore}
    for cost, score in ((iou_cost, iou), (dice_cost, dice)):
        wanted = overlap_loop(labels, drawn, classes, score)
        np.testing.assert_allclose(cost(*given_, **options), wanted, atol=1e-12)
    ged = generalised_energy_distance(*given_, **options)
    for term, (left, right) in zip(
        ged, ((labels, drawn), (seen, seen), (drawn, drawn)), strict=True
    ):
        wanted = overlap_loop(left, right, classes, iou).mean((1, 2))
        np.testing.assert_allclose(term, wanted, atol=1e-12)
    alone = sample_diversity(annotations, **options)
    torch.testing.assert_close(alone, ged.annotators)


@unhurried
@given(partly_labelled())
def test_hausdorff_distances_are_those_of_the_pixels_that_the_annotator_labelled(case):
    probabilities, annotations, ignore, classes = case
    labels, drawn, _ = prepared(case)
    diagonal = math.hypot(*annotations.shape[2:])
    wanted = np.zeros((len(labels), labels.shape[1], drawn.shape[1]))
    for at, x, y in pairs(labels, drawn):
        for k in range(1, classes):
            a, b = (np.argwhere((one == k) & (y >= 0)) for one in (x, y))
            if len(a) and len(b):
                wanted[at] += max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
            elif len(a) or len(b):
                wanted[at] += diagonal
    found = hausdorff_cost(
        probabilities.argmax(2), annotations, classes=classes, ignore_index=ignore
    )
    np.testing.assert_allclose(found, wanted / (classes - 1), atol=1e-9)


@unhurried
@given(partly_labelled())
def test_cross_entropy_is_the_mean_over_the_pixels_that_the_annotator_labelled(case):
    probabilities, annotations, ignore, _ = case
    p, (_, drawn, _) = probabilities.numpy(), prepared(case)
    wanted = np.empty((len(p), p.shape[1], drawn.shape[1]))
    for b, n, a in np.ndindex(wanted.shape):
        at = np.argwhere(drawn[b, a] >= 0)
        chosen = [p[b, n, drawn[b, a, y, x], y, x] for y, x in at]
        wanted[b, n, a] = -np.log(np.maximum(chosen, EPSILON)).mean()
    found = cross_entropy_cost(probabilities, annotations, ignore_index=ignore)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@unhurried
@given(partly_labelled())
def test_ncc_correlates_the_pixels_that_the_annotator_labelled(case):
    probabilities, annotations, ignore, _ = case
    p, (_, drawn, _) = probabilities.numpy(), prepared(case)
    information = -np.log2(np.maximum(p, EPSILON)).mean(1)
    uncertainty = (p.mean(1) * information).sum(1)
    wanted = np.zeros((len(p), drawn.shape[1]))
    for b, a in np.ndindex(wanted.shape):
        inside = drawn[b, a] >= 0
        error = np.take_along_axis(information[b], np.maximum(drawn[b, a], 0)[None], 0)[0][inside]
        spread = uncertainty[b][inside]
        if np.ptp(error) > 1e-9 and np.ptp(spread) > 1e-9:
            wanted[b, a] = np.corrcoef(error, spread)[0, 1]
    found = normalised_cross_correlation(probabilities, annotations, ignore_index=ignore)
    np.testing.assert_allclose(found, wanted.mean(1), atol=1e-6)


@unhurried
@given(partly_labelled(), st.integers(0, 2**32 - 1))
def test_what_is_predicted_where_nobody_labelled_never_matters(case, seed):
    probabilities, annotations, ignore, _ = case
    generator = torch.Generator().manual_seed(seed)
    others = torch.rand(probabilities.shape, generator=generator, dtype=torch.float64)
    nowhere = (annotations == ignore).all(1)[:, None, None]
    changed = torch.where(nowhere, others / others.sum(2, keepdim=True), probabilities)
    before, after = (
        compute_metrics(Evaluation(one, annotations, ignore_index=ignore), NAMES)
        for one in (probabilities, changed)
    )
    for name in NAMES:
        same = {"rtol": 0, "atol": 1e-12, "equal_nan": True}  # one annotation has no diversity
        torch.testing.assert_close(after[name], before[name], **same, msg=name)


@unhurried
@given(partly_labelled(), st.integers(1, 3))
def test_rows_that_nobody_labelled_are_as_if_they_were_cut_away(case, rows):
    """Only the price of one empty mask depends on the image's size."""
    probabilities, annotations, ignore, _ = case
    bare = annotations.where(annotations != ignore, 0)
    below = torch.full((*bare.shape[:2], rows, bare.shape[3]), ignore)
    taller = torch.cat([bare, below], dim=2)
    padded = torch.cat([probabilities, probabilities[..., -1:, :].expand(-1, -1, -1, rows, -1)], 3)
    names = [name for name in NAMES if name != "w-hausdorff"]
    wanted = compute_metrics(Evaluation(probabilities, bare), names)
    found = compute_metrics(Evaluation(padded, taller, ignore_index=ignore), names)
    for name in names:
        same = {"rtol": 0, "atol": 1e-9, "equal_nan": True}
        torch.testing.assert_close(found[name], wanted[name], **same, msg=name)


def test_metrics_by_name_are_the_functions():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(3, 4, 3, 8, 8, generator=generator).softmax(2)
    annotations = torch.randint(3, (3, 2, 8, 8), generator=generator, dtype=torch.uint8)
    annotations[0, :, :3] = annotations[1, 1, 5:] = 255  # and in the last image none
    evaluation = Evaluation(probabilities, annotations, ignore_index=255)
    found = compute_metrics(evaluation, NAMES)
    pair, options = (evaluation.labels, annotations), {"classes": 3, "ignore_index": 255}
    ged = generalised_energy_distance(*pair, **options)
    wanted = {
        "ged": ged.squared,
        "ged-cross": ged.cross,
        "diversity": ged.samples,
        "annotator-diversity": ged.annotators,
        "w-iou": wasserstein(iou_cost(*pair, **options)),
        "w-dice": wasserstein(dice_cost(*pair, **options)),
        "w-hausdorff": wasserstein(hausdorff_cost(*pair, **options)),
        "hungarian-iou": hungarian_iou(*pair, **options),
        "ncc": normalised_cross_correlation(probabilities, annotations, ignore_index=255),
        "w-cross-entropy": wasserstein(
            cross_entropy_cost(probabilities, annotations, ignore_index=255)
        ),
    }
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name)
        alone = compute_metrics(Evaluation(probabilities[2:], annotations[2:]), [name])[name]
        torch.testing.assert_close(found[name][2:], alone, msg=f"{name} without such pixels")
        streaming = StreamingMetric(name)
        streaming.update(probabilities, annotations, ignore_index=255)
        torch.testing.assert_close(streaming.compute(), found[name].mean(), msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_an_annotation_without_a_labelled_pixel_is_refused(name):
    """Everything would agree with it: its IoU would be 1 and its cross-entropy 0."""
    annotations = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    annotations[1, 2] = 255
    probabilities = torch.full((2, 1, 2, 4, 4), 0.5)
    with pytest.raises(InputError, match=r"every pixel of map 2 of image 1 in .* leave it"):
        compute_metrics(Evaluation(probabilities, annotations, ignore_index=255), [name])


@pytest.mark.parametrize("value", [255, -1, 300])
def test_a_value_that_is_neither_a_class_nor_ignored_is_refused(value):
    annotations = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    annotations[0, 0, 0, 0], annotations[0, 0, 1, 1] = value, 254
    probabilities = torch.full((1, 1, 2, 4, 4), 0.5)
    with pytest.raises(InputError, match=r"annotations must hold the classes 0 to 1.*ignore_index"):
        compute_metrics(Evaluation(probabilities, annotations), ["ged"])
    with pytest.raises(InputError, match=f"ignore_index={value}"):
        compute_metrics(Evaluation(probabilities, annotations, ignore_index=254), ["ged"])


def test_a_prediction_has_no_pixels_to_ignore():
    maps = torch.tensor([[[[0, 255]]]])
    with pytest.raises(InputError, match="predictions must hold the classes"):
        iou_cost(maps, maps, ignore_index=255)


@pytest.mark.parametrize("ignore_index", [True, 255.0, "255"])
def test_a_value_to_ignore_is_an_integer(ignore_index):
    maps = torch.tensor([[[[0, 1]]]])
    with pytest.raises(InputError, match="ignore_index must be an integer, such as 255, or None"):
        iou_cost(maps, maps, ignore_index=ignore_index)


def test_a_value_beyond_the_type_of_the_masks_is_nowhere():
    """156 has the bits of -100 in a byte."""
    maps = torch.tensor([[[[0, 156]]]], dtype=torch.uint8)
    assert iou_cost(maps, maps, classes=200, ignore_index=-100).item() == 0
    with pytest.raises(InputError, match="0 to 1, not values from 0 to 156"):
        iou_cost(maps, maps, ignore_index=-100)
