"""The densities of several annotators against torch's own mixture, loops and closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import normal, shaken
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from probseg.divergences.kl import KL
from probseg.divergences.transport import ExactOT, Sinkhorn
from probseg.errors import OptionError
from probseg.models.annotations import Annotations
from probseg.models.annotator_mixture import AnnotatorMixture, Repeated, repeated
from probseg.projectors.planar import planar
from probseg.utils.tensors import IGNORED

PRESENT = torch.tensor([[True, True, False], [True, False, True], [True, True, True]]).T  # (A, B)


def mixture(scale=0.5, present=PRESENT):
    torch.manual_seed(0)
    means = torch.randn(present.numel(), 2).double()
    return AnnotatorMixture(normal(means, scale), present), means.view(*present.shape, 2)


def of_torch(means, scale=0.5, present=PRESENT):
    """The same mixture by torch."""
    parts = Independent(Normal(means.transpose(0, 1), scale), 1)
    return MixtureSameFamily(Categorical(probs=present.T.double()), parts)


def test_the_density_and_its_moments_are_those_of_torch():
    found, means = mixture()
    wanted, z = of_torch(means), torch.randn(7, 3, 2).double()
    assert (found.batch_shape, found.event_shape) == ((3,), (2,))
    torch.testing.assert_close(found.log_prob(z), wanted.log_prob(z))
    torch.testing.assert_close(found.log_prob(z[0]), wanted.log_prob(z[0]))
    torch.testing.assert_close(found.mean, wanted.mean)
    torch.testing.assert_close(found.variance, wanted.variance)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 9))
def test_samples_take_the_annotators_who_are_present_in_turn(seed, count):
    found, means = mixture(scale=1e-6)
    torch.manual_seed(seed)
    z = found.rsample((count,))
    assert z.shape == (count, 3, 2)
    distance = (z[:, None] - means).abs().amax(-1)  # (n, A, B)
    drawn = (distance < 1e-3).sum(0)
    assert drawn.sum(0).tolist() == [count] * 3 and not drawn[~PRESENT].any()
    for image in range(3):
        times = drawn[PRESENT[:, image], image]
        assert times.max() - times.min() <= 1


def test_each_annotator_is_the_first_equally_often():
    """A single sample is one of the mixture, and so are the first two of three."""
    found, means = mixture(scale=1e-6)
    first = torch.cat([found.rsample((1,)) for _ in range(900)])
    share = ((first[:, None] - means).abs().amax(-1) < 1e-3).double().mean(0)
    torch.testing.assert_close(share, PRESENT / PRESENT.sum(0).double(), atol=0.06, rtol=0)


def test_shapes_of_samples():
    found, _ = mixture()
    for shape in ((), (5,), (2, 4)):
        assert found.rsample(torch.Size(shape)).shape == (*shape, 3, 2)
    assert not found.sample((2,)).requires_grad


def test_gradients_reach_the_posteriors_of_those_present_only():
    means = torch.randn(9, 2, requires_grad=True)
    found = AnnotatorMixture(normal(means, 0.5), PRESENT)
    (found.rsample((3,)).sum() + found.log_prob(torch.zeros(3, 2)).sum()).backward()
    moved = means.grad.view(3, 3, 2).abs().sum(-1) > 0
    assert torch.equal(moved, PRESENT) and means.grad.isfinite().all()


def test_the_kl_of_the_mixture_is_integrated():
    means = torch.tensor([[-1.0], [1.5]]).double()
    q = AnnotatorMixture(normal(means, 0.4), torch.ones(2, 1, dtype=torch.bool))
    p = normal(torch.zeros(1, 1).double(), 1.0)
    grid = torch.linspace(-8, 8, 20_001).double()[:, None, None]
    log_q = torch.stack([Normal(m, 0.4).log_prob(grid[..., 0]) for m in (-1.0, 1.5)])
    log_q = log_q.logsumexp(0) - torch.tensor(2.0).log()
    wanted = torch.trapezoid((log_q.exp() * (log_q - p.log_prob(grid)))[:, 0], grid[:, 0, 0])
    torch.manual_seed(0)
    torch.testing.assert_close(KL(samples=100_000)(q, p)[0], wanted, rtol=0.01, atol=0)


def test_the_log_density_of_projected_posteriors():
    """Through the inverse of the flow: the components' own log_prob at each point, by a loop."""
    flow, present = shaken(planar(2, 4).double(), 0.3), torch.tensor([[True], [True]])
    means, context = torch.randn(2, 2).double(), torch.randn(2, 4).double()
    found = AnnotatorMixture(flow(normal(means, 0.5), context), present)
    z = found.rsample((5,))
    parts = [flow(normal(means[[a]], 0.5), context[[a]]).log_prob(z) for a in range(2)]
    wanted = torch.stack(parts).exp().mean(0).log()
    torch.testing.assert_close(found.log_prob(z), wanted)


@pytest.mark.parametrize("divergence", [Sinkhorn, ExactOT])
def test_samples_follow_the_annotators(divergence):
    """With near-Diracs each point is an annotator's mean, and the transport is known."""
    present = torch.ones(2, 1, dtype=torch.bool)
    means = torch.tensor([[0.0], [4.0]]).double()
    q = AnnotatorMixture(normal(means, 1e-5), present)
    p = normal(torch.ones(1, 1).double(), 1e-5)
    found = divergence(samples=None)(q, p)
    # each half goes to 1; the Sinkhorn divergence of few points is near it
    wanted = (0.5 * 1 + 0.5 * 9) / 2
    assert found.shape == (1,) and float(found) == pytest.approx(wanted, rel=0.01)
    with pytest.raises(OptionError, match=r"samples=None .*all_annotators=True, or give a number"):
        divergence(samples=None)(p, p)


def _full(means):
    root = torch.eye(3) + 0.3 * torch.arange(9.0).view(3, 3).tril()
    return MultivariateNormal(means, scale_tril=(1 + means[:, :1, None].abs()) * root)


CLOSED = {
    "full covariance": _full,
    "independent Laplace": lambda means: Independent(Laplace(means, means.exp()), 1),
    "independent Normal": lambda means: Independent(Normal(means, means.exp()), 1),
    "low rank": lambda means: LowRankMultivariateNormal(means, means[..., None], means.exp()),
}


@pytest.mark.parametrize("density", list(CLOSED.values()), ids=list(CLOSED))
def test_repeated_densities_keep_the_closed_form(density):
    torch.manual_seed(0)
    p, means = density(torch.randn(2, 3)), torch.randn(6, 3)
    found = repeated(p, 3)
    assert repeated(p, 1) is p and (found.batch_shape, found.event_shape) == ((6,), (3,))
    each = kl_divergence(density(means), found).view(3, 2)
    for annotator in range(3):
        own = density(means[2 * annotator :][:2])
        torch.testing.assert_close(each[annotator], kl_divergence(own, p))


def test_other_densities_are_repeated_by_their_samples_and_log_prob():
    p = Independent(LogNormal(torch.randn(2, 3), 0.2), 1)
    found = repeated(p, 4)
    assert isinstance(found, Repeated) and (found.batch_shape, found.event_shape) == ((8,), (3,))
    torch.testing.assert_close(found.mean, p.mean.repeat(4, 1))
    torch.testing.assert_close(found.variance, p.variance.repeat(4, 1))
    z = found.rsample((5,))
    assert z.shape == (5, 8, 3) and len(z.unique()) == z.numel()  # each for itself
    torch.testing.assert_close(found.log_prob(z).view(5, 4, 2), p.log_prob(z.view(5, 4, 2, 3)))
    many = found.rsample((4000,)).view(4000, 4, 2, 3).mean((0, 1))
    torch.testing.assert_close(many, p.mean, atol=0.05, rtol=0)


def test_a_density_of_ones_own_is_not_taken_for_its_base_class():
    class Shifted(MultivariateNormal):
        """Which samples in its own way."""

    found = repeated(Shifted(torch.zeros(2, 3), torch.eye(3)), 4)
    assert isinstance(found, Repeated) and isinstance(found.density, Shifted)


def test_annotations_show_another_label_where_one_is_missing():
    masks = torch.stack([torch.full((2, 2), float(value)) for value in range(6)]).view(2, 3, 2, 2)
    masks = masks.long()
    masks[0, 0] = masks[0, 2] = IGNORED
    given = Annotations.of_all(masks)
    assert given.label[:, 0, 0].tolist() == [1, 3, 1, 4, 1, 5]  # annotator by annotator
    assert given.present.tolist() == [[False, True], [True, True], [False, True]]
    assert given.shape == (3, 2)
    # the mean of one number, and of three: each image counts the same
    values = torch.tensor([90.0, 3.0, 2.0, 4.0, 90.0, 5.0])
    assert given.average(values).item() == pytest.approx((2 + (3 + 4 + 5) / 3) / 2)


def test_an_image_that_nobody_labelled_counts_as_labelled_by_all():
    given = Annotations.of_all(torch.full((1, 2, 3, 3), IGNORED))
    assert given.present.all() and (given.label == IGNORED).all()
    assert given.average(torch.tensor([1.0, 3.0])).item() == 2


def test_one_label_each_is_a_plain_mean():
    given, values = Annotations(torch.zeros(3, 2, 2)), torch.randn(3)
    assert given.shape == (3,) and given.average(values).equal(values.mean())
