"""Each convention against a loop over pairs, on masks of which some are empty."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from probseg.interfaces import Evaluation
from probseg.metrics.conventions import CONVENTIONS, PairwiseGED
from probseg.metrics.evaluation import compute_metrics


@pytest.fixture(scope="module")
def masks():
    random = np.random.default_rng(0)
    samples, drawn = (random.random((6, n, 5, 5)) < 0.3 for n in (8, 4))
    samples[1, :3], drawn[1, 2:], drawn[2], samples[3], drawn[3] = 0, 0, 0, 0, 0
    return samples, drawn


@pytest.fixture(scope="module")
def found(masks):
    given = (torch.from_numpy(one.astype(np.uint8)) for one in masks)
    return {k: v.numpy() for k, v in compute_metrics(Evaluation(*given), CONVENTIONS).items()}


def iou(x, y, empty=1.0):
    return (x & y).sum() / (x | y).sum() if (x | y).any() else empty


def dice(x, y, empty=1.0):
    return 2 * (x & y).sum() / (x.sum() + y.sum()) if (x | y).any() else empty


def ged(score, samples, drawn, *, diagonal=True):
    def mean(left, right, same):
        pairs = itertools.product(range(len(left)), range(len(right)))
        kept = [(i, j) for i, j in pairs if diagonal or not same or i != j]
        return np.mean([1 - score(left[i], right[j]) for i, j in kept])

    return 2 * mean(samples, drawn, False) - mean(samples, samples, True) - mean(drawn, drawn, True)


def matched(score, samples, drawn, *, repeat):
    if repeat:
        drawn = np.repeat(drawn, len(samples) // len(drawn), axis=0)
    table = np.array([[score(s, d) for d in drawn] for s in samples])
    return table[linear_sum_assignment(-table)].mean()


def zero(x, y):
    return iou(x, y, 0.0)


WANTED = {
    "GED": lambda s, d: ged(iou, s, d),
    "GED, no mask with itself": lambda s, d: ged(iou, s, d, diagonal=False),
    "GED, two empty masks: IoU 0": lambda s, d: ged(zero, s, d),
    "GED, images that all marked": lambda s, d: ged(iou, s, d) if d.any((1, 2)).all() else np.nan,
    "GED, d = 1 − Dice": lambda s, d: ged(dice, s, d),
    "HM-IoU, smaller set repeated": lambda s, d: matched(iou, s, d, repeat=True),
    "HM-IoU, rectangular": lambda s, d: matched(iou, s, d, repeat=False),
    "HM-IoU, two empty masks: IoU 0": lambda s, d: matched(zero, s, d, repeat=True),
    "HM-IoU, images that all marked": lambda s, d: (
        matched(iou, s, d, repeat=True) if d.any((1, 2)).all() else np.nan
    ),
    "Dice, all pairs": lambda s, d: np.mean([dice(x, y) for x in s for y in d]),
    "Dice, nearest sample (D_max)": lambda s, d: np.mean([max(dice(x, y) for x in s) for y in d]),
    "Dice, best pairs (D_match)": lambda s, d: matched(dice, s, d, repeat=False),
    "Dice, mean above .5 and majority": lambda s, d: dice(s.mean(0) > 0.5, d.mean(0) > 0.5),
}


@pytest.mark.parametrize("name", WANTED)
def test_a_convention_is_its_loop(masks, found, name):
    wanted = [WANTED[name](s, d) for s, d in zip(*masks, strict=True)]
    np.testing.assert_allclose(found[name], wanted, atol=1e-12)


def test_every_convention_is_tested():
    expected = {f"GED expected of {n} samples" for n in (16, 32, 100)}  # in test_ged.py
    assert {*WANTED, *expected} == {*CONVENTIONS}


def test_one_mask_has_no_pair():
    one = torch.ones(1, 1, 2, 2).byte()
    assert PairwiseGED(diagonal=False)(Evaluation(one, one)).isnan().all()
