"""Latent health against closed forms, other formulas of the same quantity, and torch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Distribution, Gumbel, Independent, Normal

from probseg.errors import InputError, OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.latent import (
    EffectiveRank,
    Gini,
    LatentKL,
    active_units,
    effective_rank,
    gini,
    kl_per_dimension,
)

quick = settings(max_examples=50, deadline=None)
spectra = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def gaussian(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale), 1)


def evaluation(prior: Distribution | None = None, posterior: Distribution | None = None):
    probabilities = torch.full((2, 1, 2, 1, 1), 0.5)
    return Evaluation(probabilities, torch.zeros(2, 1, 1, 1).long(), prior, posterior)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_gini_of_equal_and_of_single_values(size):
    assert gini(torch.full((size,), 0.3)).item() == pytest.approx(0, abs=1e-12)
    single = torch.zeros(size)
    single[size // 2] = 4
    assert gini(single).item() == pytest.approx(1 - 1 / size)


@quick
@given(spectra)
def test_gini_equals_the_mean_absolute_difference(values):
    differences = (values[:, None] - values[None, :]).abs().sum()
    expected = differences / (2 * len(values) ** 2 * values.mean())
    torch.testing.assert_close(gini(values), expected, rtol=0, atol=1e-12)


@quick
@given(spectra)
def test_gini_equals_eq_20_term_by_term(values):
    ordered, total, size = sorted(values.tolist()), float(values.sum()), len(values)
    terms = (v / total * (size - k + 0.5) / size for k, v in enumerate(ordered, start=1))
    assert gini(values).item() == pytest.approx(1 - 2 * sum(terms), abs=1e-12)


@quick
@given(spectra, st.floats(1e-2, 1e2), st.randoms(use_true_random=False))
def test_spectra_have_no_scale_and_no_order(values, factor, random):
    other = factor * values[random.sample(range(len(values)), len(values))]
    torch.testing.assert_close(gini(other), gini(values), rtol=0, atol=1e-12)
    torch.testing.assert_close(effective_rank(other), effective_rank(values))


@pytest.mark.parametrize("size", [1, 2, 6])
def test_effective_rank_of_equal_and_of_single_values(size):
    assert effective_rank(torch.full((size,), 0.3)).item() == pytest.approx(size)
    assert effective_rank(torch.eye(size)[0]).item() == 1


@quick
@given(spectra)
def test_effective_rank_is_the_perplexity_of_the_shares(values):
    expected = Categorical(probs=values).entropy().exp()
    torch.testing.assert_close(effective_rank(values), expected)


@pytest.mark.parametrize("score", [gini, effective_rank])
@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, -1e-3], [1.0, math.nan], [1.0, math.inf]])
def test_what_is_no_spectrum_is_refused(score, values):
    with pytest.raises(InputError, match="finite and non-negative, and not all zero"):
        score(torch.tensor(values))


def test_kl_per_dimension_equals_torch_and_the_formula():
    generator = torch.Generator().manual_seed(0)
    loc_q, loc_p, log_q, log_p = torch.randn(4, 3, 6, generator=generator)
    q, p = gaussian(loc_q, log_q.exp()), gaussian(loc_p, log_p.exp())
    kl = kl_per_dimension(q, p)
    torch.testing.assert_close(
        kl.sum(1), torch.distributions.kl_divergence(q, p), check_dtype=False
    )
    mq, sq, mp, sp = (
        t.double() for t in (q.base_dist.loc, q.base_dist.scale, p.base_dist.loc, p.base_dist.scale)
    )
    expected = (sp / sq).log() + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5
    torch.testing.assert_close(kl, expected)
    assert kl_per_dimension(p, p).abs().max() == 0


def test_kl_per_dimension_shows_the_dimension_that_is_used():
    prior = gaussian(torch.zeros(1, 3), torch.ones(1, 3))
    posterior = gaussian(torch.tensor([[0.0, 2.0, 0.0]]), torch.ones(1, 3))
    assert kl_per_dimension(posterior, prior).tolist() == [[0, 2, 0]]


def test_active_units_are_those_whose_mean_varies():
    # variances over the two images: 0, 0.0081, 0.0121, 1
    means = torch.tensor([[5.0, -0.09, 0.11, 1.0], [5.0, 0.09, -0.11, -1.0]])
    assert active_units(means).tolist() == [False, False, True, True]
    assert active_units(means, threshold=0.001).tolist() == [False, True, True, True]
    with pytest.raises(InputError, match="two images or more"):
        active_units(means[:1])


def test_metrics_read_the_prior_and_its_reading():
    scale = torch.tensor([[1.0, 1.0], [1.0, 3.0]])
    view = evaluation(gaussian(torch.zeros(2, 2), scale))
    # two values 1 and r: Gini (r − 1) / (2 (r + 1))
    assert Gini()(view).tolist() == pytest.approx([0, 1 / 4])
    assert Gini(of="variance")(view).tolist() == pytest.approx([0, 8 / 20])
    # shares 1/4 and 3/4 of σ, 1/10 and 9/10 of σ²: exp of their entropies
    assert EffectiveRank()(view).tolist() == pytest.approx([2, 4 / 3**0.75])
    assert EffectiveRank("variance")(view)[1].item() == pytest.approx(10 / 9**0.9)


def test_latent_kl_goes_from_posterior_to_prior():
    posterior = gaussian(torch.zeros(2, 3), torch.full((2, 3), 0.5))
    prior = gaussian(torch.zeros(2, 3), torch.ones(2, 3))
    expected = 3 * (math.log(2) + 0.25 / 2 - 0.5)
    assert LatentKL()(evaluation(prior, posterior)).tolist() == pytest.approx([expected] * 2)


@pytest.mark.parametrize("metric", [Gini(), EffectiveRank()])
def test_a_model_without_a_latent_space_is_told(metric):
    with pytest.raises(InputError, match=r"the evaluation has no prior; give .*prior=\.\.\."):
        metric(evaluation())


@pytest.mark.parametrize("missing", ["prior", "posterior"])
def test_latent_kl_names_the_density_that_is_missing(missing):
    density = gaussian(torch.zeros(2, 3), torch.ones(2, 3))
    given = {"prior": (None, density), "posterior": (density, None)}[missing]
    with pytest.raises(InputError, match=f"the evaluation has no {missing};"):
        LatentKL()(evaluation(*given))


def test_a_density_that_is_not_axis_aligned_is_refused():
    skewed = Independent(Gumbel(torch.zeros(2, 3), torch.ones(2, 3)), 1)
    with pytest.raises(InputError, match="prior must be an axis-aligned Normal"):
        Gini()(evaluation(skewed))


@pytest.mark.parametrize("metric", [Gini, EffectiveRank])
def test_another_spectrum_is_refused(metric):
    with pytest.raises(OptionError, match="of must be one of 'scale', 'variance', not 'sigma'"):
        metric(of="sigma")
