"""The collective insight score against its definition, in loops over pixels and pairs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from partly_labelled import partly_labelled, prepared

from probseg.interfaces import Evaluation
from probseg.metrics.collective_insight import CollectiveInsight


def variances(masks):
    """Return the largest and smallest variance of the difference of two different masks (M, P)."""
    pairs = itertools.combinations(masks.astype(float), 2)
    found = [np.var(x - y) for x, y in pairs] if masks.shape[1] else []
    return np.array([max(found, default=0), min(found, default=0)])


def dice(x, y):
    return 2 * (x & y).sum() / (x.sum() + y.sum()) if (x | y).any() else 1.0


def insight(samples, drawn):
    """Return the score of masks (N, P) and (A, P)."""
    marked, found = drawn.any(0), samples.any(0)
    sensitivity = (marked & found).sum() / marked.sum() if marked.any() else 1.0
    near = np.mean([max(dice(one, s) for s in samples) for one in drawn])
    agreement = 1 - np.abs(variances(samples) - variances(drawn)).mean()
    total = sensitivity + near + agreement
    return 3 * sensitivity * near * agreement / total if total else 0.0


@settings(deadline=None, max_examples=25)
@given(partly_labelled())
def test_it_is_its_definition(case):
    probabilities, annotations, ignore, classes = case
    labels, drawn, _ = prepared(case)
    wanted = []
    for samples, masks in zip(labels, drawn, strict=True):
        inside = (masks >= 0).all(0)
        if not inside.any():
            wanted.append(np.nan)
            continue
        kept = samples[:, inside], masks[:, inside]
        wanted.append(np.mean([insight(*(side == k for side in kept)) for k in range(1, classes)]))
    found = CollectiveInsight()(Evaluation(probabilities, annotations, ignore_index=ignore))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [([[1, 1, 0, 0], [1, 0, 0, 0]], 1), ([[0, 0, 0, 0]], 0), ([[1, 1, 1, 1], [1, 1, 1, 1]], None)],
    ids=["the annotations", "nothing found", "too much"],
)
def test_known_sets(samples, wanted):
    drawn = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]])
    score = CollectiveInsight()(
        Evaluation(torch.tensor(samples)[None, :, None], drawn[None, :, None])
    ).item()
    if wanted is None:  # S = 1, D = (2/3 + 2/5) / 2, A = 1 - 3/16
        terms = np.array([1, 8 / 15, 1 - 3 / 16])
        wanted = 3 * terms.prod() / terms.sum()
    assert score == pytest.approx(wanted, abs=1e-12)


def test_nothing_is_said_where_no_pixel_was_labelled_by_all():
    drawn = torch.tensor([[[1, 255], [255, 1]]], dtype=torch.uint8)[:, :, None]
    empty = torch.zeros(1, 1, 1, 2, dtype=torch.uint8)
    assert CollectiveInsight()(Evaluation(empty, drawn, ignore_index=255)).isnan().all()
