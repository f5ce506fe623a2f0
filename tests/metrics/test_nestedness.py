"""How far masks lie within each other, against a loop over pairs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from partly_labelled import partly_labelled, prepared

from probseg.interfaces import Evaluation
from probseg.metrics.nestedness import Nestedness


@settings(deadline=None, max_examples=25)
@given(partly_labelled())
@pytest.mark.parametrize("annotators", [False, True])
def test_it_is_a_loop_over_pairs(annotators, case):
    probabilities, annotations, ignore, classes = case
    _, drawn, seen = prepared(case)
    maps = drawn if annotators else seen
    wanted = [
        np.mean(
            [held(x, y, k) for x, y in itertools.combinations(one, 2) for k in range(1, classes)]
            or [np.nan]
        )
        for one in maps
    ]
    given_ = Evaluation(probabilities, annotations, ignore_index=ignore)
    np.testing.assert_allclose(Nestedness(annotators=annotators)(given_), wanted, atol=1e-12)


def held(x, y, k):
    both = (x >= 0) & (y >= 0)
    x, y = x[both] == k, y[both] == k
    smaller = min(x.sum(), y.sum())
    return (x & y).sum() / smaller if smaller else 1.0


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [([[1, 1, 1, 0], [0, 1, 0, 0]], 1), ([[1, 1, 0, 0], [0, 0, 1, 1]], 0), ([[0], [1]], 1)],
    ids=["one within the other", "apart", "one empty"],
)
def test_two_masks(rows, wanted):
    maps = torch.tensor(rows)[None, :, None]
    assert Nestedness()(Evaluation(maps, maps)).item() == wanted
