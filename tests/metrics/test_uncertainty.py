"""Maps of uncertainty against torch's own entropies, and areas against all orders of ties."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from partly_labelled import partly_labelled, prepared
from torch.distributions import Categorical

from probseg.errors import InputError, OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.uncertainty import AURC, risk_coverage, uncertainty_maps

unhurried = settings(deadline=None, max_examples=25)
MAPS = ("entropy", "expected-entropy", "mutual-information", "variance")


def evaluation(case):
    probabilities, annotations, ignored, _ = case
    return Evaluation(probabilities, annotations, ignore_index=ignored)


def entropy(probabilities):
    """Return that of (..., K, H, W), by torch's own distribution."""
    moved = probabilities.movedim(-3, -1)
    return Categorical(probs=moved + 1e-300).entropy()


@unhurried
@given(partly_labelled())
def test_maps_are_those_of_torchs_distributions(case):
    maps = uncertainty_maps(evaluation(case))
    p = case[0].double()
    mean = p.mean(1)
    torch.testing.assert_close(maps.entropy, entropy(mean), rtol=0, atol=1e-7)
    torch.testing.assert_close(maps.expected_entropy, entropy(p).mean(1), rtol=0, atol=1e-7)
    kl = (torch.special.xlogy(p, p) - torch.special.xlogy(p, mean[:, None])).sum(2).mean(1)
    torch.testing.assert_close(maps.mutual_information, kl, rtol=0, atol=1e-7)
    torch.testing.assert_close(maps.variance, p.var(1, unbiased=False).sum(1))


@unhurried
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=6))
def test_equal_uncertainties_are_in_random_order(things):
    uncertainty, risk = (torch.tensor(side).double() for side in zip(*things, strict=True))
    curves = []
    for order in permutations(range(len(things))):
        ordered = [things[index] for index in order]
        if [u for u, _ in ordered] == sorted(u for u, _ in ordered):
            risks = np.array([r for _, r in ordered], dtype=float)
            curves.append(np.cumsum(risks) / np.arange(1, len(risks) + 1))
    np.testing.assert_allclose(risk_coverage(uncertainty, risk), np.mean(curves, 0), atol=1e-12)


@unhurried
@given(partly_labelled(), st.sampled_from(MAPS))
def test_the_area_is_a_loop_over_pixels(case, name):
    value = AURC(name)(evaluation(case))
    uncertain = getattr(uncertainty_maps(evaluation(case)), name.replace("-", "_")).numpy()
    predicted = case[0].double().mean(1).argmax(1).numpy()
    _, drawn, _ = prepared(case)
    for b in range(len(value)):
        pixels = []
        for y, x in np.ndindex(predicted.shape[1:]):
            labels = drawn[b, :, y, x]
            if (labels >= 0).any():
                error = (labels[labels >= 0] != predicted[b, y, x]).mean()
                pixels.append((round(float(uncertain[b, y, x]), 9), error))
        ties = {u: np.mean([e for v, e in pixels if v == u]) for u, _ in pixels}
        risks = [ties[u] for u, _ in sorted(pixels)]
        curve = np.cumsum(risks) / np.arange(1, len(risks) + 1)
        assert value[b] == pytest.approx(curve.mean(), abs=1e-9)


def test_errors_that_are_the_most_uncertain_cost_the_least():
    p = torch.tensor([0.9, 0.9, 0.9, 0.6]).view(1, 1, 1, 1, 4)
    samples = torch.cat([1 - p, p], 2)
    wrong_at = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]])
    areas = [AURC()(Evaluation(samples, drawn.view(1, 1, 1, 4))).item() for drawn in wrong_at]
    assert areas[0] == pytest.approx(1 / 4 / 4)  # risk 0, 0, 0, 1/4
    assert areas[1] == pytest.approx((1 / 3 + 1 / 3 + 1 / 3 + 1 / 4) / 4)


def test_masks_differ_by_information_alone():
    masks = torch.tensor([0, 1]).view(1, 2, 1, 1)
    maps = uncertainty_maps(Evaluation(masks, masks))
    assert maps.expected_entropy.item() == 0
    assert maps.entropy.item() == maps.mutual_information.item() == pytest.approx(np.log(2))


def test_names_give_the_areas_of_their_maps():
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(2, 4, 3, 5, 5, generator=generator).softmax(2)
    masks = torch.randint(3, (2, 3, 5, 5), generator=generator)
    names = ["aurc", *(f"aurc-{name}" for name in MAPS[1:])]
    values = compute_metrics(Evaluation(samples, masks), names)
    for name, option in zip(names, MAPS, strict=True):
        assert torch.equal(values[name], AURC(option)(Evaluation(samples, masks)))


def test_an_unknown_map_is_refused():
    with pytest.raises(OptionError, match="uncertainty must be"):
        AURC("doubt")


def test_images_have_a_curve_of_their_scores():
    curve = risk_coverage(np.array([3e-10, 1e-10, 2e-10]), np.array([1.0, 0.0, 0.5]))
    np.testing.assert_allclose(curve, [0, 0.25, 0.5])
    assert risk_coverage(torch.tensor([2, 1]), torch.tensor([1, 0])).tolist() == [0, 0.5]


@pytest.mark.parametrize(
    ("uncertainty", "risk", "message"),
    [
        ([1.0, 2.0], [1.0], r"two lists of as many numbers, not \(2,\) and \(1,\)"),
        ([], [], "two lists of as many numbers"),
        ([[1.0]], [[1.0]], "two lists of as many numbers"),
        ([1.0, np.nan], [1.0, 2.0], "holds NaN; leave out what has no value"),
    ],
)
def test_what_has_no_curve_is_refused(uncertainty, risk, message):
    with pytest.raises(InputError, match=message):
        risk_coverage(np.array(uncertainty), np.array(risk))
