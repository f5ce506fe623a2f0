"""Calibration against loops over pixels, torchmetrics and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from partly_labelled import partly_labelled, prepared
from torchmetrics.functional.classification import binary_calibration_error

from probseg.errors import OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.calibration import ACE, ECE, Brier
from probseg.metrics.mean_maps import mean_maps

unhurried = settings(deadline=None, max_examples=25)


def evaluation(p, annotations):
    """One image of one row, whose samples' mean foreground probability is p."""
    p = torch.as_tensor(p, dtype=torch.float64)
    samples = torch.stack([1 - p, p])[None, None, :, None]
    return Evaluation(samples, torch.as_tensor(annotations)[None, :, None])


def pixel_means(case):
    """Yield for each image and foreground class p and q of every labelled pixel, in loops."""
    probabilities, _, _, classes = case
    p = probabilities.numpy().mean(1)
    _, drawn, _ = prepared(case)
    for b in range(len(p)):
        for k in range(1, classes):
            pairs = [
                (p[b, k, y, x], np.mean(labels == k))
                for y, x in np.ndindex(p.shape[2:])
                if len(labels := drawn[b, drawn[b, :, y, x] >= 0, y, x])
            ]
            yield b, np.array(pairs).T


def mean_over_classes(case, error):
    values = {}
    for b, (p, q) in pixel_means(case):
        values.setdefault(b, []).append(error(p, q))
    return [np.mean(one) for one in values.values()]


@unhurried
@given(partly_labelled())
def test_brier_is_the_mean_square(case):
    wanted = mean_over_classes(case, lambda p, q: ((p - q) ** 2).mean())
    np.testing.assert_allclose(Brier()(_of(case)), wanted, atol=1e-12)


@unhurried
@given(partly_labelled(), st.integers(1, 20))
def test_ece_is_a_loop_over_bins(case, bins):
    def error(p, q):
        total = 0.0
        for b in range(bins):
            inside = (p * bins >= b) & ((p * bins < b + 1) | (b == bins - 1))
            if inside.any():
                total += inside.mean() * abs(p[inside].mean() - q[inside].mean())
        return total

    np.testing.assert_allclose(ECE(bins)(_of(case)), mean_over_classes(case, error), atol=1e-12)


@unhurried
@given(partly_labelled(), st.integers(1, 20))
def test_ace_is_a_loop_over_equal_shares_of_repeated_pixels(case, bins):
    """Each pixel counts ``bins`` times, so that bins hold whole pixels; ties have their mean."""

    def error(p, q):
        q = np.array([q[p == value].mean() for value in p])
        order = np.repeat(np.argsort(p, kind="stable"), bins)
        parts = order.reshape(bins, len(p))
        return np.mean([abs((p - q)[part].mean()) for part in parts])

    np.testing.assert_allclose(ACE(bins)(_of(case)), mean_over_classes(case, error), atol=1e-10)


@unhurried
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_ece_is_that_of_torchmetrics_with_every_annotation_as_a_target(seed, annotators):
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(50, generator=generator)
    drawn = torch.randint(2, (annotators, 50), generator=generator)
    other = binary_calibration_error(p.repeat(annotators), drawn.flatten(), n_bins=15)
    assert ECE()(evaluation(p, drawn)).item() == pytest.approx(other.item(), abs=1e-6)


def test_means_that_are_shares_of_annotators_are_calibrated():
    annotations = [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1]]
    given_ = evaluation([0, 0.5, 0.5, 1], annotations)
    for metric in (Brier(), ECE(), ACE()):
        assert metric(given_).item() == 0


def test_certain_and_wrong_costs_everything():
    given_ = evaluation([0.0, 1.0], [[1, 0]])
    assert [metric(given_).item() for metric in (Brier(), ECE(), ACE(2))] == [1, 1, 1]


def test_wrong_by_pixel_but_right_on_average_is_calibrated():
    given_ = evaluation([0.5, 0.5], [[1, 0]])
    assert [metric(given_).item() for metric in (ECE(), ACE(), Brier())] == [0, 0, 0.25]


def test_most_pixels_of_the_background_hide_an_error_from_ece_no_more_than_from_ace():
    p = torch.zeros(1000)
    p[:10] = 0.9
    given_ = evaluation(p, torch.zeros(1, 1000, dtype=torch.long))
    assert ECE()(given_).item() == pytest.approx(0.009)  # both weigh by pixels
    assert ACE()(given_).item() == pytest.approx(0.009)


def test_shares_of_equal_value_are_equal_numbers():
    ten = torch.zeros(1, 10, 1, 1, dtype=torch.long)
    ten[:, :2] = 1
    probabilities = torch.full((1, 1, 2, 1, 1), 0.5)
    shares = [
        mean_maps(Evaluation(probabilities, drawn)).annotators[0, 1].item()
        for drawn in (ten, ten[:, 1:6])
    ]
    assert shares == [0.2, 0.2]


@pytest.mark.parametrize("metric", [ECE, ACE])
def test_bins_are_a_positive_number(metric):
    with pytest.raises(OptionError, match="bins"):
        metric(bins=0)


def _of(case):
    probabilities, annotations, ignore, _ = case
    return Evaluation(probabilities, annotations, ignore_index=ignore)
