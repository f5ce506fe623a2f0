"""Stratified samples: strata by counting, moments by closed forms, other densities by SciPy."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small_models import batch, generator, shaken, small
from torch.distributions import (
    Categorical,
    Gamma,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform, ExpTransform

from probseg.errors import InputError
from probseg.models.hierarchical_sampling import Sampled
from probseg.models.stratified import stratified_choice, stratified_normal, stratified_sample

CPU = torch.device("cpu")


@settings(deadline=None)
@given(n=st.integers(1, 40), images=st.integers(1, 4), numbers=st.integers(1, 5))
def test_each_interval_of_equal_probability_has_one_value(n, images, numbers):
    drawn = stratified_normal(n, (images, numbers), CPU)
    place = (torch.from_numpy(stats.norm.cdf(drawn.double())) * n).sort(0).values
    low = torch.arange(n)[:, None, None]
    rounding = 1e-5 * n  # of single precision, at the ends of an interval
    assert (place > low - rounding).all() and (place < low + 1 + rounding).all()


@pytest.mark.parametrize("n", [2, 8, 16])
def test_an_even_number_of_draws_are_antithetic_pairs(n):
    drawn = stratified_normal(n, (3, 5), CPU)
    torch.testing.assert_close(drawn.sum(0), torch.zeros(3, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_one_draw_alone_is_standard_normal_and_its_numbers_are_independent(n):
    drawn = stratified_normal(n, (20_000, 2), CPU)
    for each in (drawn[0], drawn[-1]):
        assert stats.kstest(each.flatten().numpy(), "norm").pvalue > 1e-3
        # uniform on the square: the counts of its sixteen parts
        part = (torch.from_numpy(stats.norm.cdf(each)) * 4).floor().long()
        counts = torch.bincount(part[:, 0] * 4 + part[:, 1], minlength=16)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_draws_of_one_image_say_nothing_of_those_of_another():
    drawn = stratified_normal(8, (20_000, 2), CPU)[:, :, 0]
    correlation = torch.corrcoef(torch.stack([drawn[0, ::2], drawn[0, 1::2]]))[0, 1]
    assert abs(correlation) < 4 / math.sqrt(10_000)


def test_a_mean_over_them_varies_less_than_over_independent_ones():
    """Of f(z) = sin z_1 + z_2^3 the variance of a mean over 16 draws falls by far."""

    def f(z):
        return z[..., 0].sin() + z[..., 1] ** 3

    stratified = f(stratified_normal(16, (2000, 2), CPU)).mean(0).var()
    independent = f(torch.randn(16, 2000, 2)).mean(0).var()
    assert stratified < independent / 5


@pytest.mark.parametrize("n", [1, 7, 16])
@settings(deadline=None)
@given(logits=st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_a_choice_is_made_as_often_as_its_probability_says(n, logits):
    p = torch.tensor(logits).softmax(0)
    counts = torch.stack([torch.bincount(one, minlength=len(p)) for one in choices(p, n, 50)])
    assert counts.sum(1).eq(n).all()
    assert (counts > n * p - 1 - 1e-4).all() and (counts < n * p + 1 + 1e-4).all()


def choices(p, n, images):
    return stratified_choice(p.expand(images, -1), n).T


def test_each_choice_alone_has_the_probabilities():
    p = torch.tensor([0.55, 0.3, 0.15])
    for one in choices(p, 5, 30_000).T:
        counts = torch.bincount(one, minlength=3)
        assert stats.chisquare(counts.numpy(), (p * 30_000).numpy()).pvalue > 1e-3


def tril(*rows):
    return torch.tensor(rows).expand(6000, -1, -1)


DENSITIES = {
    "normal": Independent(Normal(torch.tensor([1.0, -2.0]).expand(6000, 2), 0.5), 1),
    "full": MultivariateNormal(torch.ones(6000, 2), scale_tril=tril([1.0, 0.0], [0.8, 0.3])),
    "low-rank": LowRankMultivariateNormal(
        torch.zeros(6000, 2), tril([1.0], [-0.5]), torch.full((6000, 2), 0.2)
    ),
    "transformed": TransformedDistribution(
        Independent(Normal(torch.zeros(6000, 2), 0.3), 1),
        [ExpTransform(), AffineTransform(1.0, 2.0)],
    ),
    "mixture": MixtureSameFamily(
        Categorical(torch.tensor([0.7, 0.3]).expand(6000, 2)),
        Independent(Normal(torch.tensor([[0.0, 3.0], [4.0, -1.0]]).expand(6000, 2, 2), 0.4), 1),
    ),
}


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("n", [3, 4])
def test_samples_have_the_moments_of_the_density(name, n):
    density = DENSITIES[name]
    sample = stratified_sample(density, n)
    reference = density.sample((40,)).flatten(0, 1)
    assert sample.shape == (n, 6000, 2)
    for each in sample:
        torch.testing.assert_close(each.mean(0), reference.mean(0), atol=0.08, rtol=0.03)
        torch.testing.assert_close(each.T.cov(), reference.T.cov(), atol=0.08, rtol=0.12)
    for one in range(2):
        values = (each[:, one].numpy() for each in (sample[-1], reference))
        assert stats.ks_2samp(*values).pvalue > 1e-3


def test_gradients_reach_the_parameters_of_a_density():
    location = torch.zeros(3, 2, requires_grad=True)
    stratified_sample(Independent(Normal(location, torch.ones(3, 2)), 1), 4).sum().backward()
    torch.testing.assert_close(location.grad, torch.full((3, 2), 4.0))


def test_a_density_of_another_class_is_refused():
    with pytest.raises(InputError, match="of class Gamma has no stratified samples"):
        stratified_sample(Independent(Gamma(torch.ones(2, 3), 1.0), 1), 4)


WITH_LATENTS = ["punet", "2p-planar", "csae", "spu-net", "energy"]


@pytest.mark.parametrize("name", WITH_LATENTS)
def test_a_model_decodes_stratified_latents_of_its_prior(name):
    model, image = shaken(small(name), 0.1).eval(), batch()[0]
    found = model.sample(image, 6, stratified=True, generator=generator())
    torch.testing.assert_close(found, decoded(model, image, model.prior(image)))


def decoded(model, image, prior):
    with torch.random.fork_rng():
        torch.manual_seed(3)  # that of generator()
        return model.decode(image, stratified_sample(prior, 6))


@pytest.mark.parametrize("projector", ["planar", "rational-quadratic", "affine-autoregressive"])
def test_the_projected_prior_is_stratified_before_its_flow(projector):
    model, image = shaken(small("csae", projector=projector), 0.1).eval(), batch()[0]
    found = model.sample(image, 6, stratified=True, projected=True, generator=generator())
    prior = model.sampled_density(image, projected=True)
    torch.testing.assert_close(found, decoded(model, image, prior))


def test_a_mixture_gives_each_expert_its_share():
    mixture = {"name": "mixture", "experts": 3, "channels": [4, 8], "convolutions": 1}
    model = shaken(small("energy", encoder=mixture, samples=6), 0.1).eval()
    image = batch()[0]
    found = model.sample(image, 6, stratified=True, generator=generator())
    torch.testing.assert_close(found, decoded(model, image, model.prior(image)))


@pytest.mark.parametrize("name", ["hierarchical", "hierarchical-csae", "hierarchical-energy"])
def test_the_noise_of_all_scales_is_stratified(name):
    model, image = shaken(small(name), 0.1).eval(), batch()[0]
    drawn = model.sample(image, 16, stratified=True, generator=generator())
    again = model.sample(image, 16, stratified=True, generator=generator())
    other = model.sample(image, 16, generator=generator())
    torch.testing.assert_close(drawn, again)
    assert not torch.allclose(drawn, other)
    features = model.pyramid(image)
    noise = Sampled(model.decoder, features).draw(16, stratified=True)
    torch.testing.assert_close(noise.sum(0), torch.zeros_like(noise[0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["punet", "csae", "energy"])
def test_tiles_are_those_of_the_whole_image(name):
    model, image = shaken(small(name), 0.1).eval(), torch.rand(1, 1, 24, 40)
    options = {"stratified": True}
    whole = model.sample(image, 4, generator=generator(), **options)
    tiled = model.sample(image, 4, generator=generator(), tile=16, **options)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-4)


def test_stratified_samples_are_nearer_to_the_distribution_of_the_model():
    """The mean over 8 samples is nearer to that over very many, image by image."""
    model, image = shaken(small("punet"), 0.05).eval(), batch(8)[0]
    truth = model.sample(image, 4000, generator=generator()).mean(0)
    far = {
        stratified: torch.stack(
            [
                model.sample(image, 8, stratified=stratified, generator=generator(seed)).mean(0)
                for seed in range(150)
            ]
        )
        .sub(truth)
        .square()
        .mean()
        for stratified in (False, True)
    }
    assert far[True] < 0.9 * far[False]
