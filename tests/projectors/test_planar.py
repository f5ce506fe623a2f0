"""Planar flows and nflows' transforms as projectors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import normal, shaken

import probseg
from probseg.projectors.planar import PlanarStep, planar

CONTEXT = 3
FLOWS = ("planar", "affine-autoregressive", "rational-quadratic")


def with_parameters(u, w, b):
    """Return a step that has these parameters whatever its context."""
    step = PlanarStep(u.numel(), CONTEXT).to(u.dtype)
    with torch.no_grad():
        step.amortise.weight.zero_()
        step.amortise.bias.copy_(torch.cat([u, w, b.reshape(1)]))
    return step


def jacobian(transform, z, context):
    """Return df/dz (N, L, L) by automatic differentiation."""
    z = z.detach().requires_grad_()
    y = transform(z, context)[0]
    rows = [torch.autograd.grad(one.sum(), z, retain_graph=True)[0] for one in y.unbind(-1)]
    return torch.stack(rows, dim=1)


def jacobian_log_det(transform, z, context):
    """Return log |det df/dz| (N,) by automatic differentiation."""
    return torch.linalg.slogdet(jacobian(transform, z, context)).logabsdet


@settings(deadline=None, max_examples=40)
@given(
    latent=st.integers(1, 8),
    steps=st.integers(1, 4),
    scale=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_log_determinant_is_that_of_autograd_s_jacobian(latent, steps, scale, seed):
    torch.manual_seed(seed)
    transform = shaken(planar(latent, CONTEXT, steps=steps).double(), scale).transform
    z, context = torch.randn(4, latent).double(), torch.randn(4, CONTEXT).double()
    found = transform(z, context)[1]
    matrices = jacobian(transform, z, context)
    wanted = torch.linalg.slogdet(matrices).logabsdet
    # entries rounded by one unit move the log-determinant of a matrix by its condition number
    tolerance = 1e-10 + torch.finfo(torch.float64).eps * torch.linalg.cond(matrices)
    assert ((found - wanted).abs() <= tolerance).all(), (found, wanted)


def test_log_determinant_where_the_jacobian_is_nearly_singular():
    """The product of the steps' determinants stays exact where that of the whole is not."""
    torch.manual_seed(249)
    transform = shaken(planar(6, CONTEXT, steps=3).double(), 0.5).transform
    z, context = torch.randn(4, 6).double(), torch.randn(4, CONTEXT).double()
    found, wanted = transform(z, context)[1], 0
    assert torch.linalg.cond(jacobian(transform, z, context)).max() > 1e8
    for step in transform._transforms:
        wanted = wanted + jacobian_log_det(step, z, context)
        z = step(z, context)[0].detach()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


@settings(deadline=None, max_examples=40)
@given(
    latent=st.integers(1, 8),
    steps=st.integers(1, 3),
    scale=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_the_inverse_undoes_the_flow(latent, steps, scale, seed):
    torch.manual_seed(seed)
    transform = shaken(planar(latent, CONTEXT, steps=steps).double(), scale).transform
    z, context = torch.randn(4, latent).double(), torch.randn(4, CONTEXT).double()
    with torch.no_grad():
        y, log_det = transform(z, context)
        back, inverse_log_det = transform.inverse(y, context)
    # as well as it is conditioned: a step may squeeze space by exp(log_det)
    tolerance = 1e-8 * max(1.0, float((-log_det).exp().max()))
    torch.testing.assert_close(back, z, rtol=0, atol=tolerance)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-6, atol=tolerance)


def test_the_inverse_is_differentiable():
    step = shaken(PlanarStep(3, CONTEXT).double())
    y = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    context = torch.randn(2, CONTEXT, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, c: step.inverse(a, c), (y, context))
    assert torch.autograd.gradcheck(lambda a, c: step(a, c), (y, context))


@pytest.mark.parametrize("size", [0.0, 1e-90, 1e-80, 1e-60, 1e-12, 1e-6])
def test_the_log_determinant_holds_where_w_vanishes(size):
    u, w = torch.randn(3).double(), torch.randn(3).double() * size
    step = with_parameters(u, w, torch.tensor(0.0).double())
    z, context = torch.randn(4, 3).double() * 1e-3, torch.zeros(4, CONTEXT).double()
    found, wanted = step(z, context)[1], jacobian_log_det(step, z, context)
    assert found.isfinite().all()
    if size in (0.0, 1e-90, 1e-6):  # elsewhere w/||w||^2 is too steep for a Jacobian of doubles
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


def test_a_known_step_gives_the_formula_s_values():
    """u = (2, 0), w = (1, 0), b = 0: f moves along the first axis by (softplus(2) - 1) tanh(z)."""
    u, w = torch.tensor([2.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double()
    step = with_parameters(u, w, torch.tensor(0.0).double())
    y, log_det = step(torch.tensor([[0.5, 7.0]]).double(), torch.zeros(1, CONTEXT).double())
    y, log_det = y.detach(), log_det.detach()
    gain = 2.1269280110429727  # log(1 + e^2)
    tanh = 0.46211715726000973  # tanh(1/2)
    wanted = torch.tensor([[0.5 + (gain - 1) * tanh, 7.0]], dtype=torch.float64)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=0)
    derivative = torch.tensor([1 + (gain - 1) * (1 - tanh**2)], dtype=torch.float64)
    torch.testing.assert_close(log_det, derivative.log(), rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=40)
@given(
    dtype=st.sampled_from([torch.float32, torch.float64]),
    sizes=st.tuples(*[st.sampled_from([0.0, 1e-8, 1.0, 30.0, 1e3, 1e6])] * 4),
    seed=st.integers(0, 2**32),
)
def test_extreme_parameters_stay_finite(dtype, sizes, seed):
    torch.manual_seed(seed)
    lengths = (4, 4, 1, 4)
    u, w, b, z = (s * torch.randn(n).to(dtype) for s, n in zip(sizes, lengths, strict=True))
    step = with_parameters(u, w, b)
    context, z = torch.zeros(1, CONTEXT, dtype=dtype), z[None].requires_grad_()
    y, log_det = step(z, context)
    assert y.isfinite().all() and log_det.isfinite().all()
    (y.sum() + log_det.sum()).backward()
    assert z.grad.isfinite().all() and step.amortise.bias.grad.isfinite().all()
    back, inverse_log_det = step.inverse(y.detach(), context)
    assert back.isfinite().all() and inverse_log_det.isfinite().all()


@pytest.mark.parametrize("latent", [1, 6])
def test_a_planar_flow_starts_near_the_identity(latent):
    flow = planar(latent, 192)
    base, context = normal(torch.zeros(64, latent), 1.0), torch.randn(64, 192)
    z = base.rsample((8,))
    y, log_det = flow.transform(z.flatten(0, 1), context.repeat(8, 1))
    assert (y - z.flatten(0, 1)).norm(dim=-1).mean() < 0.05
    assert log_det.abs().mean() < 0.05


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_a_projected_density_is_base_less_log_determinant(name, shape):
    flow = probseg.projectors.create(name, features=4, context_features=CONTEXT).double()
    shaken(flow, 0.05 if name == "rational-quadratic" else 0.3)  # splines soon become too steep
    base = normal(torch.randn(3, 4).double(), 0.7)
    context = torch.randn(3, CONTEXT).double()
    projected = flow(base, context)
    assert projected.batch_shape == (3,) and projected.event_shape == (4,)
    torch.manual_seed(1)
    y = projected.rsample(shape)
    torch.manual_seed(1)
    z = base.rsample(shape)
    contexts = context.expand(*shape, 3, CONTEXT).reshape(-1, CONTEXT)
    log_det = jacobian_log_det(flow.transform, z.reshape(-1, 4), contexts).view(*shape, 3)
    wanted = base.log_prob(z) - log_det
    # nflows' splines move a knot by 1e-6 while they look for the bin
    tolerance = 1e-5 if name == "rational-quadratic" else 1e-10
    torch.testing.assert_close(projected.log_prob(y), wanted, rtol=tolerance, atol=tolerance)
    # and again through the inverse, for a point that nobody has drawn
    tolerance = max(tolerance, 1e-6)
    torch.testing.assert_close(projected.log_prob(y + 0), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FLOWS)
def test_a_half_precision_flow_follows_the_full_one(name):
    flow = probseg.projectors.create(name, features=4, context_features=CONTEXT)
    base, context = normal(torch.randn(3, 4), 0.7), torch.randn(3, CONTEXT)
    half = probseg.projectors.create(name, features=4, context_features=CONTEXT)
    half.load_state_dict(flow.state_dict())
    torch.manual_seed(1)
    wanted = flow(base, context).rsample()
    torch.manual_seed(1)
    projected = half.bfloat16()(base, context)
    found = projected.rsample()
    assert found.dtype == torch.float32 and projected.log_prob(found).dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1)


def test_the_identity_returns_the_base_itself():
    base = normal(torch.randn(3, 4), 0.7)
    identity = probseg.projectors.create("identity", features=4, context_features=CONTEXT)
    assert identity(base, torch.randn(3, CONTEXT)) is base
