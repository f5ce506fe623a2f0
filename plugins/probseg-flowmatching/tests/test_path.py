"""The solver against equations whose solutions are known."""

import math

import pytest
import torch

from probseg_flowmatching.path import between, transported


def _grows(rate):
    """An end such that the velocity is ``rate * state``."""
    return lambda state, time: state * (1 + rate * (1 - time).view(-1, 1, 1, 1))


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 49])
def test_growth_is_that_of_the_methods_own_polynomial(steps):
    start, rate = torch.randn(3, 2, 4, 5, dtype=torch.float64), 1.5
    step = rate / steps
    factors = {"euler": 1 + step, "midpoint": 1 + step + step**2 / 2}
    for method, factor in factors.items():
        end = transported(_grows(rate), start, steps=steps, method=method)
        torch.testing.assert_close(end, start * factor**steps)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2)])
def test_errors_fall_with_the_order_of_the_method(method, order):
    start = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    errors = [
        (transported(_grows(1.0), start, steps=steps, method=method) - math.e).abs().item()
        for steps in (40, 80)
    ]
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.05


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_certain_end_is_reached_in_any_number_of_steps(method, steps):
    end = torch.randn(2, 3, 4, 4)
    found = transported(lambda *_: end, torch.randn_like(end), steps=steps, method=method)
    torch.testing.assert_close(found, end)


def test_a_normal_becomes_the_normal_that_it_is_to_become():
    """Of Normal ends the expected one is linear, and the flow maps quantiles to quantiles."""
    mean, std, scale = 0.7, 0.4, 2.0

    def endpoint(state, time):
        t = time.view(-1, 1, 1, 1)
        gain = t * std**2 / ((t * std) ** 2 + ((1 - t) * scale) ** 2)
        return mean + gain * (state - t * mean)

    start = scale * torch.linspace(-3, 3, 7, dtype=torch.float64).view(7, 1, 1, 1)
    wanted = mean + std * start / scale
    errors = [
        (transported(endpoint, start, steps=steps) - wanted).abs().max() for steps in (1, 10, 100)
    ]
    assert errors[0] > errors[1] > errors[2]
    torch.testing.assert_close(
        transported(endpoint, start, steps=200, method="midpoint"), wanted, atol=1e-3, rtol=0
    )


def test_paths_are_straight():
    start, end = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    found = between(start, end, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(found[0], start[0])
    torch.testing.assert_close(found[1], 0.75 * start[1] + 0.25 * end[1])
    torch.testing.assert_close(found[2], end[2])
