"""KL divergences against closed forms and numerical integration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, normal, shaken, small

from probseg.divergences.kl import KL
from probseg.errors import OptionError
from probseg.projectors.planar import planar


def gaussian_kl(m, s, n, t):
    """KL(N(m, s^2) || N(n, t^2)) = log t/s + (s^2 + (m - n)^2) / 2t^2 - 1/2, summed."""
    m, s, n, t = (np.asarray(x, dtype=float) for x in (m, s, n, t))
    return (np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5).sum(-1)


def gaussian_log_density(points, mean, scale):
    square = ((points - mean) / scale) ** 2
    return (-0.5 * square - np.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1)


def integrated_kl(transform, context, q, p, cells=350):
    """Integrate q log q/p over a grid of the plane, from the inverse map and its differences.

    Neither the flow's log-determinant nor any sample enters: q(y) = q0(g(y)) |det Dg(y)| with g
    the inverse, differentiated by central differences on the grid.
    """
    with torch.no_grad():
        drawn = torch.from_numpy(q[0] + q[1] * np.random.default_rng(0).normal(size=(20_000, 2)))
        drawn = transform(drawn, context.expand(20_000, -1))[0].numpy()
        low, high = drawn.min(0) - 0.3, drawn.max(0) + 0.3
        first, second = np.linspace(low, high, cells).T
        y = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1)
        flat = torch.from_numpy(y.reshape(-1, 2))
        z = transform.inverse(flat, context.expand(len(flat), -1))[0].numpy().reshape(y.shape)
    d0, d1 = np.gradient(z, first, second, axis=(0, 1))
    log_det = np.log(np.abs(d0[..., 0] * d1[..., 1] - d0[..., 1] * d1[..., 0]))
    log_q = gaussian_log_density(z, *q) + log_det
    log_p = gaussian_log_density(y, *p)
    cell = (first[1] - first[0]) * (second[1] - second[0])
    mass = (np.exp(log_q) * cell).sum()
    assert abs(mass - 1) < 2e-3, "the grid misses some of q"
    return float((np.exp(log_q) * (log_q - log_p) * cell).sum())


def numbers(density):
    base = density.base_dist
    return base.loc[0].detach().numpy(), base.scale[0].detach().numpy()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), latent=st.integers(1, 6))
def test_the_analytic_kl_is_the_closed_form(seed, latent):
    torch.manual_seed(seed)
    m, n = torch.randn(2, 3, latent).double()
    s, t = torch.rand(2, 3, latent).double() + 0.1
    found = KL()(normal(m, s), normal(n, t))
    assert found.shape == (3,)
    np.testing.assert_allclose(found, gaussian_kl(m, s, n, t), rtol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_2p_planar_s_kl_equals_numerical_integration(seed):
    """The model's own term, with its parts and weights, to one per cent."""
    torch.manual_seed(seed)
    model = small(
        "2p-planar", latent_dim=2, beta=3.0, kl={"name": "kl", "samples": 200_000}
    ).double()
    shaken(model.posterior_projector, 0.6)
    image, label = (x[:1] for x in batch(1, 8, 8))
    image = image.double()
    with torch.no_grad():
        found = float(model.loss(image, label)["kl"]) / 3.0
        base, _ = model.densities(image, label)
        one_hot = torch.nn.functional.one_hot(label, 2).movedim(-1, 1) - 0.5
        context = model.posterior_encoder(torch.cat([image, one_hot], dim=1))[1]
    transform = model.posterior_projector.transform
    wanted = integrated_kl(transform, context, numbers(base.q), numbers(base.p))
    assert wanted > 0.05
    assert found == pytest.approx(wanted, rel=0.01)


def test_the_base_density_at_the_wrong_point_is_visibly_wrong():
    """A known mistake: log q0 at the projected point, in place of log q0 at the base point."""
    torch.manual_seed(5)
    flow = shaken(planar(2, 3).double(), 0.6)
    context = torch.randn(1, 3).double()
    q, p = normal(torch.tensor([[0.5, -0.5]]).double(), 0.6), normal(torch.zeros(1, 2).double(), 1)
    wanted = integrated_kl(flow.transform, context, numbers(q), numbers(p))
    with torch.no_grad():
        projected = flow(q, context)
        found = KL(samples=200_000)(projected, p)
        z = projected.rsample((200_000,))
        log_det = projected.log_prob(z) - q.log_prob(projected.transforms[0].inv(z))
        wrong = (q.log_prob(z) + log_det - p.log_prob(z)).mean(0)
    assert float(found) == pytest.approx(wanted, rel=0.01)
    assert abs(float(wrong) - wanted) > 0.1 * wanted


@pytest.mark.parametrize("steps", [2, 4])
def test_the_kl_of_random_flows_is_positive_and_the_mistake_s_is_not(steps):
    """KL is never negative; its public mis-evaluation is, for wide flows (method's note)."""
    flow = shaken(planar(6, 4, steps=steps).double(), 1.0)
    q, p = normal(torch.randn(32, 6).double(), 0.5), normal(torch.zeros(32, 6).double(), 1.0)
    with torch.no_grad():
        projected = flow(q, torch.randn(32, 4).double())
        found = KL(samples=2000)(projected, p)
        z = projected.rsample((2000,))
        log_det = projected.log_prob(z) - q.log_prob(projected.transforms[0].inv(z))
        wrong = (q.log_prob(z) + log_det - p.log_prob(z)).mean(0)
    assert (found > 0).all()
    assert wrong.mean() < 0 < found.mean()


def test_more_samples_estimate_better():
    flow = shaken(planar(3, 4).double(), 0.5)
    q, p = normal(torch.randn(1, 3).double(), 0.5), normal(torch.zeros(1, 3).double(), 1.0)
    context = torch.randn(1, 4).double()

    def spread(samples):
        kl = KL(samples=samples)
        with torch.no_grad():
            return torch.stack([kl(flow(q, context), p) for _ in range(40)]).std()

    assert spread(100) < spread(1) / 4


def test_a_change_of_variables_leaves_the_kl_as_it_is():
    """KL(f q || f p) = KL(q || p) for one flow of both, through the inverse of the flow."""
    flow = shaken(planar(3, 4).double(), 0.5)
    q, p = normal(torch.randn(2, 3).double(), 0.5), normal(torch.zeros(2, 3).double(), 1.0)
    context = torch.randn(2, 4).double()
    with torch.no_grad():
        found = KL(samples=10_000)(flow(q, context), flow(p, context))
    np.testing.assert_allclose(found, KL()(q, p), rtol=0.05)


# Free bits


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), floor=st.floats(0.01, 3.0))
def test_free_bits_are_a_floor_under_each_dimension(seed, floor):
    torch.manual_seed(seed)
    m, n = torch.randn(2, 3, 4).double()
    s, t = torch.rand(2, 3, 4).double() + 0.1
    found = KL(free_bits=floor)(normal(m, s), normal(n, t))
    each = gaussian_kl(*(x[..., None] for x in (m, s, n, t)))  # a sum over one dimension
    np.testing.assert_allclose(found, np.maximum(each, floor).sum(-1), rtol=1e-10)


def test_there_is_no_gradient_below_the_floor():
    """KL(N(m, 1) || N(0, 1)) = m^2 / 2 is 0.5 for m = 1, and its derivative is m."""
    mean = torch.tensor([[1.0, 0.5, -2.0]], requires_grad=True)
    found = KL(free_bits=0.6)(normal(mean, 1.0), normal(torch.zeros(1, 3), 1.0))
    found.sum().backward()
    torch.testing.assert_close(found, torch.tensor([0.6 + 0.6 + 2.0]))
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 0.0, -2.0]]))


def test_no_free_bits_change_nothing_to_the_bit():
    q, p = normal(torch.randn(3, 6), 0.5), normal(torch.randn(3, 6), 1.5)
    assert torch.equal(KL(free_bits=0.0)(q, p), torch.distributions.kl_divergence(q, p))
    flow, context = shaken(planar(6, 4), 0.5), torch.randn(3, 4)
    torch.manual_seed(0)
    found = KL(free_bits=0)(flow(q, context), p)
    torch.manual_seed(0)
    assert torch.equal(KL()(flow(q, context), p), found)


def test_free_bits_of_a_flow_are_refused_with_the_remedy():
    floor = {"name": "kl", "free_bits": 0.5}
    with pytest.raises(OptionError, match=r"TransformedDistribution; .*kl_on='base'.*leave free"):
        small("2p-planar", kl=floor)  # before any step
    terms = small("2p-planar", kl=floor, kl_on="base").loss(*batch())
    assert terms["kl"] >= 10 * 6 * 0.5 - 1e-4


def test_a_floor_is_not_negative():
    with pytest.raises(OptionError, match="free_bits must be a non-negative finite number"):
        KL(free_bits=-0.1)
