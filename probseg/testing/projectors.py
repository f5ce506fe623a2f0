"""The contract of a projector: (base density, context) -> the density of f(z, context)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.distributions import Distribution, Independent, Normal

from probseg.testing.contract import (
    Contract,
    Make,
    double,
    expect,
    expect_close,
    expect_gradients,
    expect_shape,
    perturbed,
    repeatable,
)

contract = Contract("projector")

BATCH, LATENT, CONTEXT = 3, 4, 5


@contract
def samples_have_their_shapes(make: Make) -> None:
    """Samples (*s, B, L) with log-probabilities (*s, B), for any s and also for one image."""
    projector = _projector(make)
    for batch in (BATCH, 1):
        base, context = _base(torch.randn(batch, LATENT).double()), _context(batch)
        projected = projector(base, context)
        for shape in ((), (7,), (2, 4)):
            sample = projected.rsample(shape)
            expect_shape(sample, (*shape, batch, LATENT), "a sample")
            expect_shape(projected.log_prob(sample), (*shape, batch), "a log-probability")


@contract
def log_prob_is_exact(make: Make) -> None:
    """``log q(f(z)) = log p(z) - log |det J|``, with J from automatic differentiation."""
    projector, context = _projector(make), _context()
    mean = _mean().requires_grad_()
    base = _base(mean)
    projected = projector(base, context)
    sample = repeatable(projected.rsample)
    actual = projected.log_prob(sample)
    # The base sample is its mean plus noise, so the Jacobian in the mean is the map's.
    rows = [torch.autograd.grad(y.sum(), mean, retain_graph=True)[0] for y in sample.unbind(-1)]
    logdet = torch.linalg.slogdet(torch.stack(rows, dim=1)).logabsdet
    expected = base.log_prob(repeatable(base.rsample)) - logdet
    # nflows' splines move a knot by 1e-6 while they look for the bin
    expect_close(actual, expected, "log p(z) - log |det J| of the sample", tolerance=1e-5)


@contract
def an_image_ignores_its_batch(make: Make) -> None:
    """An image's density reads its own base and its own context only."""
    projector, context, mean = _projector(make), _context(), _mean()
    other_context, other_mean = context.clone(), mean.clone()
    other_context[1:] += 1
    other_mean[1:] -= 1
    actual = _first(projector(_base(other_mean), other_context))
    expected = _first(projector(_base(mean), context))
    expect_close(actual, expected, "the first image's sample to ignore the others", tolerance=1e-10)


@contract
def gradients_reach_the_context(make: Make) -> None:
    """The derivative in the context, from autograd, is that of finite differences."""
    projector, base = _projector(make), _base(_mean())
    _expect_derivative(lambda c: _scalar(projector(base, c)), _context(), "the context")


@contract
def gradients_reach_the_base(make: Make) -> None:
    """The derivative in the base's mean, from autograd, is that of finite differences."""
    projector, context = _projector(make), _context()
    _expect_derivative(lambda m: _scalar(projector(_base(m), context)), _mean(), "the base")


@contract
def every_parameter_gets_a_gradient(make: Make) -> None:
    """A sample and its log-probability depend on every parameter."""
    projector = _projector(make)
    expect_gradients(projector, _scalar(projector(_base(_mean()), _context())))


def _projector(make: Make) -> Any:
    # Away from its start, where a flow is nearly the identity and hides its mistakes.
    return perturbed(double(make(features=LATENT, context_features=CONTEXT)))


def _mean() -> Tensor:
    return torch.randn(BATCH, LATENT, dtype=torch.float64)


def _context(batch: int = BATCH) -> Tensor:
    return torch.randn(batch, CONTEXT, dtype=torch.float64)


def _base(mean: Tensor) -> Distribution:
    return Independent(Normal(mean, torch.full_like(mean, 0.7)), 1)


def _first(density: Distribution) -> Tensor:
    sample = repeatable(density.rsample)
    return torch.cat([sample[0], density.log_prob(sample)[:1]])


def _scalar(density: Distribution) -> Tensor:
    sample = repeatable(density.rsample)
    return sample.square().sum() + density.log_prob(sample).sum()


def _expect_derivative(function: Callable[[Tensor], Tensor], at: Tensor, what: str) -> None:
    right = gradcheck(
        function,
        at.requires_grad_(),
        eps=1e-5,
        atol=1e-4,
        rtol=1e-4,
        fast_mode=True,
        raise_exception=False,
    )
    expect(right, f"a derivative in {what} that equals finite differences", "another one")
