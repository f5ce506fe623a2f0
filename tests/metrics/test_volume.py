"""Scores of sizes against the integral that defines the CRPS, and loops."""

import numpy as np
import torch
from hypothesis import given, settings
from partly_labelled import partly_labelled, prepared

from probseg.interfaces import Evaluation
from probseg.metrics.volume import EmptyShare, VolumeCRPS

unhurried = settings(deadline=None, max_examples=25)


def integral(sizes, drawn):
    """Return ∫ (F(x) − 1{x ≥ drawn})² dx, F the distribution of whole numbers ``sizes``."""
    steps = np.arange(min(*sizes, drawn), max(*sizes, drawn))  # [x, x + 1)
    return sum((np.mean(sizes <= x) - (x >= drawn)) ** 2 for x in steps)


@unhurried
@given(partly_labelled())
def test_crps_is_its_integral(case):
    labels, drawn, _ = prepared(case)
    wanted = [
        np.mean(
            [
                integral(
                    ((labels[b] == k) & (one >= 0)).sum((1, 2)),
                    (one == k).sum(),
                )
                for one in drawn[b]
                for k in range(1, case[3])
            ]
        )
        for b in range(len(labels))
    ]
    np.testing.assert_allclose(VolumeCRPS()(_of(case)), wanted, atol=1e-9)


@unhurried
@given(partly_labelled())
def test_shares_of_empty_maps(case):
    _, drawn, seen = prepared(case)
    for maps, annotators in ((seen, False), (drawn, True)):
        wanted = (maps <= 0).all((2, 3)).mean(1)
        np.testing.assert_allclose(EmptyShare(annotators=annotators)(_of(case)), wanted)


def test_one_sample_has_its_absolute_error():
    samples = torch.zeros(1, 1, 4, 4, dtype=torch.long)
    drawn = samples.clone()
    drawn[..., :2] = 1
    assert VolumeCRPS()(Evaluation(samples, drawn)).item() == 8


def test_samples_as_annotations_are_as_good_as_sizes_get():
    sizes = torch.arange(16) < torch.tensor([[3], [3], [9], [12]])
    maps = sizes.long().reshape(1, 4, 4, 4)
    best = VolumeCRPS()(Evaluation(maps, maps)).item()
    for wrong in (maps[:, :1], maps.roll(1, dims=3) * 0, 1 - maps):
        assert VolumeCRPS()(Evaluation(wrong, maps)).item() > best


def _of(case):
    probabilities, annotations, ignore, _ = case
    return Evaluation(probabilities, annotations, ignore_index=ignore)
