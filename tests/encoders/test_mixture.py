"""The mixture of experts: its density, its samples, and what models make of it."""

import math

import pytest
import torch
from small_models import ENCODER, batch, small
from torch.distributions import Categorical, Independent, Normal, kl_divergence

import probseg
from probseg.encoders.mixture import Mixture, ReparameterisedMixture
from probseg.errors import OptionError
from probseg.models.energy import even_sample

MIXTURE = {**ENCODER, "name": "mixture", "experts": 2}
MEANS = torch.tensor([[[-4.0, 0.0], [4.0, 1.0]]])


def mixture(logits, scale=0.5):
    means = MEANS.expand(len(logits), -1, -1)
    return ReparameterisedMixture(Categorical(logits=logits), Independent(Normal(means, scale), 1))


def test_samples_are_those_of_the_mixture():
    torch.manual_seed(0)
    density = mixture(torch.tensor([[0.25, 0.75]]).log())
    drawn = density.rsample((20000,))
    torch.testing.assert_close(drawn.mean(0), density.mean, atol=0.1, rtol=0)
    torch.testing.assert_close((drawn[..., 0] > 0).float().mean().item(), 0.75, atol=0.02, rtol=0)


def test_one_expert_is_an_axis_aligned_normal():
    torch.manual_seed(0)
    density, _ = Mixture(1, 3, experts=1, channels=[4, 8], convolutions=1)(torch.rand(2, 1, 8, 8))
    at = torch.randn(2, 3)
    normal = density.component_distribution.base_dist
    expected = Normal(normal.loc[:, 0], normal.scale[:, 0]).log_prob(at).sum(-1)
    torch.testing.assert_close(density.log_prob(at), expected)
    with pytest.raises(NotImplementedError):  # so that kl estimates it from samples
        kl_divergence(density, density)


def test_an_even_sample_comes_expert_by_expert_with_their_weights():
    logits = torch.tensor([[0.25, 0.75]]).log()
    drawn, weights = even_sample(mixture(logits), 6)
    assert (drawn[:3, 0, 0] < 0).all() and (drawn[3:, 0, 0] > 0).all()
    torch.testing.assert_close(weights, torch.tensor([[0.25], [0.75]]))


@pytest.mark.parametrize("stratified", [False, True])
def test_two_draws_of_an_expert_are_as_far_apart_as_two_of_its_density(stratified):
    torch.manual_seed(0)
    density = mixture(torch.zeros(20_000, 2), scale=1.0)
    drawn, _ = even_sample(density, 4, stratified=stratified)
    for one, other in (drawn[:2], drawn[2:]):
        apart = (one - other).abs().mean().item()
        assert apart == pytest.approx(2 / math.pi**0.5, rel=0.02)


def test_experts_that_do_not_divide_the_samples_are_refused_with_a_number_that_works():
    with pytest.raises(OptionError, match=r"of the prior's 2 experts, such as samples=8, not 7"):
        even_sample(mixture(torch.zeros(1, 2)), 7)


@pytest.mark.parametrize("set_loss", ["energy", "exact-ot", "sinkhorn"])
def test_the_experts_weights_learn(set_loss):
    torch.manual_seed(0)
    model, (image, label) = small("energy", encoder=MIXTURE, set_loss=set_loss), batch()
    model.loss(image, label[:, None])["set_loss"].backward()
    for layer in (model.prior_encoder.head, model.prior_encoder.weights):
        assert layer.weight.grad.isfinite().all() and layer.weight.grad.abs().sum() > 0
    assert model.sample(image, 3).shape == (3, 2, 2, 16, 16)


def test_a_punet_may_have_a_prior_of_experts():
    torch.manual_seed(0)
    encoder = {"prior": MIXTURE, "posterior": ENCODER}
    model, (image, label) = small("punet", encoder=encoder), batch()
    terms = model.loss(image, label)
    terms["kl"].backward()
    assert terms["kl"].isfinite() and model.prior_encoder.weights.weight.grad.abs().sum() > 0


def test_what_a_model_without_posterior_or_a_prior_of_experts_has_no_value_for():
    data = probseg.datasets.create("ambiguous-shapes", size=16, samples=2)
    metrics = ["ged", "gini", "effective-rank", "latent-kl"]
    for encoder, missing in ((ENCODER, metrics[3:]), (MIXTURE, metrics[1:])):
        model = small("energy", encoder=encoder, in_channels=data.channels).eval()
        scores = probseg.evaluate(model, data, n=2, metrics=metrics, progress=False, device="cpu")
        assert set(scores.problems) == set(missing)
        assert scores.problems["latent-kl"] == "it needs a posterior, and this model has none"
