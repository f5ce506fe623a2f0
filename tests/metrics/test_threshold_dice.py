"""The thresholded Dice score against a loop over thresholds and pixels."""

import numpy as np
import torch
from hypothesis import given, settings
from partly_labelled import partly_labelled, prepared

from probseg.interfaces import Evaluation
from probseg.metrics.threshold_dice import ThresholdDice


@settings(deadline=None, max_examples=25)
@given(partly_labelled())
def test_it_is_a_loop_over_thresholds(case):
    probabilities, annotations, ignore, classes = case
    p, (_, drawn, _) = probabilities.numpy().mean(1), prepared(case)
    wanted = []
    for b in range(len(p)):
        scores = []
        inside = (drawn[b] >= 0).any(0)
        for k in range(1, classes):
            votes, voters = (drawn[b] == k).sum(0)[inside], (drawn[b] >= 0).sum(0)[inside]
            for tenths in range(1, 10):
                one, other = p[b, k][inside] >= tenths / 10, 10 * votes >= tenths * voters
                sizes = one.sum() + other.sum()
                scores.append(2 * (one & other).sum() / sizes if sizes else 1.0)
        wanted.append(np.mean(scores))
    found = ThresholdDice()(Evaluation(probabilities, annotations, ignore_index=ignore))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_samples_that_are_the_annotations_are_perfect():
    masks = torch.randint(2, (2, 5, 6, 6), generator=torch.Generator().manual_seed(0))
    assert ThresholdDice()(Evaluation(masks, masks)).tolist() == [1, 1]


def test_each_annotator_opens_thresholds():
    """Two of four annotators reach the thresholds .1 to .5; a certain sample all nine."""
    drawn = torch.tensor([1, 1, 0, 0])[None, :, None, None]
    samples = torch.ones(1, 1, 1, 1, dtype=torch.long)
    assert ThresholdDice()(Evaluation(samples, drawn)).item() == 5 / 9
