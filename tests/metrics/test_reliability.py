"""The bins of a reliability diagram against a loop, and over images."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from partly_labelled import partly_labelled, prepared

from probseg.errors import OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.calibration import ECE
from probseg.metrics.reliability import Reliability

unhurried = settings(deadline=None, max_examples=25)


def evaluation(case):
    probabilities, annotations, ignored, _ = case
    return Evaluation(probabilities, annotations, ignore_index=ignored)


@unhurried
@given(partly_labelled(), st.integers(1, 20))
def test_bins_are_those_of_a_loop(case, bins):
    found = Reliability.of(evaluation(case), bins)
    p = case[0].double().mean(1).numpy()
    _, drawn, _ = prepared(case)
    wanted = np.zeros((3, bins))
    for b, k, y, x in np.ndindex(p.shape):
        labels = drawn[b, :, y, x]
        if k and (labels >= 0).any():
            which = min(int(p[b, k, y, x] * bins), bins - 1)
            wanted[:, which] += 1, p[b, k, y, x], (labels[labels >= 0] == k).mean()
    np.testing.assert_allclose(
        [found.pixels, found.predicted, found.annotated], wanted, rtol=1e-6, atol=1e-9
    )


def test_one_image_of_two_classes_has_the_expected_calibration_error():
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(1, 4, 2, 9, 9, generator=generator).softmax(2)
    given_ = Evaluation(samples, torch.randint(2, (1, 3, 9, 9), generator=generator))
    assert Reliability.of(given_).error == pytest.approx(ECE()(given_).item())


def test_images_add_up():
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(3, 4, 2, 9, 9, generator=generator).softmax(2)
    masks = torch.randint(2, (3, 3, 9, 9), generator=generator)
    one, rest = (Reliability.of(Evaluation(samples[s], masks[s])) for s in (slice(1), slice(1, 3)))
    both = Reliability.empty() + one + rest
    together = Reliability.of(Evaluation(samples, masks))
    np.testing.assert_allclose(both.pixels, together.pixels)
    np.testing.assert_allclose(both.curve, together.curve)


def test_no_image_has_no_error():
    assert np.isnan(Reliability.empty().error) and len(Reliability.empty().curve[0]) == 0


def test_no_bin_is_refused():
    masks = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    for call in (Reliability.empty, lambda bins: Reliability.of(Evaluation(masks, masks), bins)):
        for bins in (0, -1, 2.5):
            with pytest.raises(OptionError, match="bins must be an integer of at least 1"):
                call(bins)
