"""The contract of a divergence: densities q and p -> one number per image, (B,)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    Normal,
    TransformedDistribution,
)

from probseg.testing.contract import (
    Contract,
    Make,
    expect,
    expect_close,
    expect_gradients,
    expect_shape,
    repeatable,
)

contract = Contract("divergence")

BATCH, LATENT = 3, 4
DIRAC = 1e-3  # a scale at which a sample is its mean


@contract
def one_number_per_image(make: Make) -> None:
    """The result is (B,), also for one image, and an image's number ignores the other images."""
    divergence = make()
    mean = _mean()
    actual = repeatable(lambda: divergence(_normal(mean), _normal(mean + 1)))
    expect_shape(actual, (BATCH,), "a divergence")
    expect_shape(divergence(_normal(mean[:1]), _normal(mean[:1])), (1,), "a divergence")
    shifted = mean.clone()
    shifted[1:] -= 3
    again = repeatable(lambda: divergence(_normal(shifted), _normal(mean + 1)))
    expect_close(again[:1], actual[:1], "the first image's number to ignore the others")


@contract
def equal_points_are_at_distance_zero(make: Make) -> None:
    """Two equal densities of almost no spread are no distance apart."""
    actual = make()(_normal(_mean(), DIRAC), _normal(_mean(), DIRAC))
    expect_close(actual, torch.zeros_like(actual), "zero for equal points", tolerance=1e-2)


@contract
def grows_with_the_distance(make: Make) -> None:
    """Points farther apart are farther apart, on either side, and the number is not negative."""
    divergence, mean = make(), _mean()
    for sign in (-1, 1):
        apart = [sign * shift for shift in (0.0, 0.5, 1.0, 2.0, 4.0)]
        numbers = torch.stack([_at(divergence, mean, shift) for shift in apart])
        expect(numbers.min() > -1e-2, "no negative number", f"{numbers.min().item():.3g}")
        grows = bool((numbers.diff(dim=0) > 0).all())
        expect(grows, "numbers that grow with the distance", numbers[:, 0].tolist())


@contract
def gradients_reach_both_sides(make: Make) -> None:
    """Means and scales of both densities get finite gradients that are not zero."""
    sides = {
        f"the {what} of {side}": value.requires_grad_()
        for side, shift in (("q", 0.0), ("p", 1.0))
        for what, value in (
            ("mean", _mean() + shift),
            ("scale", torch.full((BATCH, LATENT), 0.5 + shift).double()),
        )
    }
    qm, qs, pm, ps = sides.values()
    total = make()(_normal(qm, qs), _normal(pm, ps)).sum()
    gradients = torch.autograd.grad(total, list(sides.values()), allow_unused=True)
    for name, gradient in zip(sides, gradients, strict=True):
        alive = gradient is not None and bool(
            gradient.isfinite().all() and gradient.abs().sum() > 0
        )
        expect(alive, f"a finite gradient in {name} that is not zero", gradient)


@contract
def takes_projected_densities(make: Make) -> None:
    """Densities without a closed form, as projectors give them, are compared all the same."""
    divergence = make()
    q, p = (_projected(_normal(_mean() + shift)) for shift in (0.0, 1.0))
    actual = divergence(q, p)
    expect_shape(actual, (BATCH,), "a divergence")
    expect(actual.isfinite().all(), "finite numbers", actual.tolist())


@contract
def every_parameter_gets_a_gradient(make: Make) -> None:
    """If the divergence has parameters, its number depends on each."""
    divergence = make()
    expect_gradients(divergence, divergence(_normal(_mean()), _normal(_mean() + 1)).sum())


def _mean() -> Tensor:
    return torch.linspace(-1, 1, BATCH * LATENT, dtype=torch.float64).reshape(BATCH, LATENT)


def _normal(mean: Tensor, scale: float | Tensor = 0.5) -> Distribution:
    return Independent(Normal(mean, torch.as_tensor(scale).to(mean).expand_as(mean)), 1)


def _projected(base: Distribution) -> Distribution:
    return TransformedDistribution(base, AffineTransform(0.5, 2.0, event_dim=1, cache_size=1))


def _at(divergence: Any, mean: Tensor, shift: float) -> Tensor:
    actual: Tensor = divergence(_normal(mean + shift, DIRAC), _normal(mean, DIRAC))
    return actual
