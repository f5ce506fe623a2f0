"""The splines have nflows's numbers, and are finite wherever a number can round to."""

import pytest
import torch
from nflows.transforms import MaskedPiecewiseRationalQuadraticAutoregressiveTransform
from small_models import batch, small

from probseg.projectors.autoregressive import (
    SplineStep,
    affine_autoregressive,
    rational_quadratic,
)

BOUND = 5.0


def steps(dtype):
    """Return nflows's step and ours with the same weights."""
    options = {"num_bins": 8, "tails": "linear", "tail_bound": BOUND}
    both = [
        kind(4, 16, 3, **options).to(dtype)
        for kind in (MaskedPiecewiseRationalQuadraticAutoregressiveTransform, SplineStep)
    ]
    with torch.no_grad():
        for weight in both[0].parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    both[1].load_state_dict(both[0].state_dict())
    return both


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_and_gradients_are_those_of_nflows(direction, dtype):
    torch.manual_seed(0)
    z, context = 3 * torch.randn(300, 4, dtype=dtype), torch.randn(300, 3, dtype=dtype)
    z[0] = torch.tensor([BOUND, -BOUND, 50.0, -50.0])
    z.requires_grad_()
    found = []
    for step in steps(dtype):
        y, log_det = getattr(step, direction)(z, context)
        gradients = torch.autograd.grad(y.sum() + log_det.sum(), [z, *step.parameters()])
        found.append((y, log_det, gradients))
    (y, log_det, gradients), ours = found
    assert torch.equal(ours[0], y) and torch.equal(ours[1], log_det)
    for mine, wanted in zip(ours[2], gradients, strict=True):
        scale = wanted.abs().max()
        assert torch.allclose(mine / scale, wanted / scale, atol=100 * torch.finfo(dtype).eps)


def test_nothing_beyond_the_numbers_is_out_of_range():
    """An index out of range, of NaN say, would end a GPU's work for good."""
    step = steps(torch.float32)[1]
    z = torch.tensor([[float("nan"), float("inf"), -float("inf"), BOUND]])
    y, _ = step.forward(z, torch.zeros(1, 3))
    assert y.shape == z.shape and y[0, 0].isnan()


@pytest.mark.parametrize("flow", [affine_autoregressive, rational_quadratic])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_model_maps_in_single_precision(flow, dtype):
    torch.manual_seed(0)
    projector = flow(4, 3).to(dtype)
    at_edge = torch.nextafter(torch.tensor(BOUND), torch.tensor(0.0))
    z = torch.cat([at_edge.expand(1, 4), 2 * torch.randn(200, 4)])
    context = torch.randn(201, 3).to(dtype)
    base = torch.distributions.Independent(torch.distributions.Normal(z, torch.ones(201, 4)), 1)
    (transform,) = projector(base, context).transforms
    with torch.no_grad():
        y = transform(z)
        log_det = transform.log_abs_det_jacobian(z, y)
        back = transform._inverse(y)
    assert y.dtype == log_det.dtype == torch.float32
    assert y.isfinite().all() and log_det.isfinite().all()
    # far more than the three digits of a narrow type
    moved = (back - z).abs().amax(1)
    assert moved.median() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shift", [2.0, 4.0])
def test_a_prior_that_has_moved_to_the_bound(dtype, shift):
    torch.manual_seed(0)
    model, (image, label) = small("csae", projector="rational-quadratic"), batch(4, 16, 16)
    with torch.no_grad():
        model.prior_encoder.head.bias[:6] += shift
    model = model.to(dtype)
    for _ in range(5):
        assert model.sample(image, 100, projected=True).isfinite().all()
        assert all(term.isfinite() for term in model.loss(image, label).values())


def test_under_autocast_a_flow_is_in_single_precision():
    torch.manual_seed(0)
    model, (image, label) = small("csae", projector="rational-quadratic"), batch()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        projected = model.densities(image, label)[1]
        drawn = projected.q.sample((1000,))
        assert drawn.dtype == torch.float32 and drawn.isfinite().all()
        assert projected.p.log_prob(drawn).isfinite().all()
