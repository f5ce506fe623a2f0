"""The options of autoregressive flows reach nflows, and their defaults are what old files hold."""

import pytest
import torch
from nflows.transforms import CompositeTransform, ReversePermutation

from probseg.errors import OptionError
from probseg.projectors.autoregressive import affine_autoregressive, rational_quadratic


def outputs(flow):
    """The shape of the last weight of each step's network."""
    steps = flow.transform._transforms[::2]
    return [tuple(step.autoregressive_net.final_layer.weight.shape) for step in steps]


@pytest.mark.parametrize(
    ("flow", "shapes"),
    [
        (affine_autoregressive(3, 2), [(3 * 2, 32)] * 2),
        (affine_autoregressive(3, 2, steps=1, hidden_features=8), [(3 * 2, 8)]),
        # of each bin a width, a height and, between two, a slope
        (rational_quadratic(3, 2), [(3 * (3 * 8 - 1), 32)] * 2),
        (rational_quadratic(3, 2, steps=3, hidden_features=8, bins=5), [(3 * 14, 8)] * 3),
    ],
)
def test_options_reach_every_step(flow, shapes):
    assert outputs(flow) == shapes
    assert isinstance(flow.transform, CompositeTransform)
    assert all(isinstance(one, ReversePermutation) for one in flow.transform._transforms[1::2])


@pytest.mark.parametrize(("options", "bound"), [({}, 5.0), ({"tail_bound": 2.0}, 2.0)])
def test_a_spline_moves_nothing_beyond_its_bound_and_much_within(options, bound):
    torch.manual_seed(0)
    flow = rational_quadratic(2, 1, steps=1, **options)
    for weight in flow.parameters():
        torch.nn.init.normal_(weight)
    z = torch.tensor([[bound + 0.01, -bound - 0.01], [bound - 0.3, 0.3 - bound]])
    y, log_det = flow.transform(z, torch.ones(2, 1))
    assert torch.equal(y[0].flip(0), z[0]) and log_det[0] == 0
    assert (y[1].flip(0) - z[1]).abs().min() > 1e-3 and log_det[1] != 0


@pytest.mark.parametrize("make", [affine_autoregressive, rational_quadratic])
def test_a_flow_has_a_step(make):
    with pytest.raises(OptionError, match="steps must be an integer of at least 1, not 0"):
        make(3, 2, steps=0)
