"""Normalised cross-correlation against numpy's, pixel by pixel."""

import numpy as np
import pytest
import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.ncc import NCC, normalised_cross_correlation


def random_case(classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, 5, classes, 6, 7, generator=generator, dtype=torch.float64)
    return logits.softmax(2), torch.randint(0, classes, (2, 3, 6, 7), generator=generator)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_equals_numpys_correlation_of_the_two_maps(classes):
    probabilities, annotations = random_case(classes)
    expected = []
    for samples, labels in zip(probabilities.numpy(), annotations.numpy(), strict=True):
        mean = samples.mean(0)
        spread = np.mean([-(mean * np.log(s)).sum(0) for s in samples], axis=0)
        onehots = np.eye(classes)[labels].transpose(0, 3, 1, 2)
        errors = [np.mean([-(y * np.log(s)).sum(0) for s in samples], axis=0) for y in onehots]
        expected.append(np.mean([np.corrcoef(spread.ravel(), e.ravel())[0, 1] for e in errors]))
    actual = normalised_cross_correlation(probabilities, annotations)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(NCC()(Evaluation(probabilities, annotations)), actual)


def test_error_where_the_samples_disagree_is_one_and_elsewhere_negative():
    # one pixel of four is uncertain; the annotation differs from the mean there, or beside it
    sure, unsure = [0.99, 0.01], [0.5, 0.5]
    probabilities = torch.tensor([[[sure, sure, sure, unsure]]]).movedim(-1, 2)[..., None]
    there = torch.tensor([[[[0], [0], [0], [1]]]])
    beside = torch.tensor([[[[1], [0], [0], [0]]]])
    assert normalised_cross_correlation(probabilities, there).item() == pytest.approx(1)
    assert normalised_cross_correlation(probabilities, beside).item() < 0


@pytest.mark.parametrize("size", [3, 300])
def test_a_map_that_is_constant_up_to_rounding_has_no_correlation(size):
    annotations = torch.zeros(1, 1, size, size, dtype=torch.long)
    annotations[..., 0, 0] = 1
    for change, wanted in ((1e-14, 0), (1e-9, 1)):  # of uncertainty, at the pixel of the error
        p = torch.full((1, 1, 2, size, size), 1e-3, dtype=torch.float64)
        p[:, :, 1, 0, 0] *= 1 + change
        p[:, :, 0] = 1 - p[:, :, 1]
        value = normalised_cross_correlation(p, annotations).item()
        assert value == pytest.approx(wanted, abs=1e-3)


def test_a_constant_map_has_no_correlation():
    probabilities = torch.full((1, 3, 2, 4, 4), 0.5)
    annotations = torch.randint(0, 2, (1, 2, 4, 4))
    assert normalised_cross_correlation(probabilities, annotations).item() == 0
    certain = torch.stack([torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)], 2)
    assert normalised_cross_correlation(certain, torch.zeros(1, 1, 2, 2).long()).item() == 0
