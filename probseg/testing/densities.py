"""The contracts of projectors and divergences, which take densities.

A projector turns a base density and a context into the density of f(z, context); a divergence two
densities q and p into one number per image, (B,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    StudentT,
    TransformedDistribution,
)

from probseg.testing.contract import (
    Contract,
    Make,
    as_fitted,
    autocast,
    double,
    expect,
    expect_close,
    expect_gradients,
    expect_precision,
    expect_same_weights,
    expect_shape,
    expect_success,
    perturbed,
    repeatable,
)

projectors = Contract("projector")
divergences = Contract("divergence")

BATCH, LATENT, CONTEXT = 3, 4, 5
DIRAC = 1e-3  # a scale at which a sample is its mean


@projectors
def samples_have_their_shapes(make: Make) -> None:
    """Samples (*s, B, L) with log-probabilities (*s, B), for any s and also for one image."""
    projector = _projector(make)
    for batch in (BATCH, 1):
        base, context = _normal(torch.randn(batch, LATENT).double()), _context(batch)
        projected = projector(base, context)
        for shape in ((), (7,), (2, 4)):
            sample = projected.rsample(shape)
            expect_shape(sample, (*shape, batch, LATENT), "a sample")
            expect_shape(projected.log_prob(sample), (*shape, batch), "a log-probability")


@projectors
def log_prob_is_exact(make: Make) -> None:
    """``log q(f(z)) = log p(z) - log |det J|``, with J from automatic differentiation."""
    _expect_exact(_projector(make), _context(), _normal)


@projectors
def every_base_is_projected(make: Make) -> None:
    """A base need not be Normal: the log-probability is exact for others too.

    A projector reads ``rsample`` and ``log_prob`` of its base and nothing else.
    """
    projector, context = _projector(make), _context()
    for base_of in (_student_t, _correlated):
        with expect_success(f"to project {base_of(_mean())}, by its rsample and log_prob alone"):
            _expect_exact(projector, context, base_of)


@projectors
def projector_weights_are_all_there_is(make: Make) -> None:
    """A second projector with the first one's ``state_dict`` gives the same samples."""
    base, context = _normal(_mean()), _context()
    expect_same_weights(lambda: _projector(make), lambda part: _first(part(base, context)))


@projectors
def projected_as_fit_runs_it(make: Make) -> None:
    """Under bf16 autocast samples and log-probabilities of a float32 base are in float32."""
    projector = as_fitted(make(features=LATENT, context_features=CONTEXT))
    with autocast():
        projected = projector(_normal(_mean().float()), _context().float())
        sample = projected.rsample()
    log_prob = projected.log_prob(sample)
    apart = projected.rsample((2,))  # as divergences draw, with autocast switched off
    expect_precision({"a sample": sample, "log_prob": log_prob, "another sample": apart})
    expect_gradients(projector, sample.square().sum() + log_prob.sum())


@projectors
def an_image_ignores_its_batch(make: Make) -> None:
    """An image's density reads its own base and its own context only."""
    projector, context, mean = _projector(make), _context(), _mean()
    other_context, other_mean = context.clone(), mean.clone()
    other_context[1:] += 1
    other_mean[1:] -= 1
    actual = _first(projector(_normal(other_mean), other_context))
    expected = _first(projector(_normal(mean), context))
    expect_close(actual, expected, "the first image's sample to ignore the others", tolerance=1e-10)


@projectors
def gradients_reach_the_context(make: Make) -> None:
    """The derivative in the context, from autograd, is that of finite differences."""
    projector, base = _projector(make), _normal(_mean())
    _expect_derivative(lambda c: _scalar(projector(base, c)), _context(), "the context")


@projectors
def gradients_reach_the_base(make: Make) -> None:
    """The derivative in the base's mean, from autograd, is that of finite differences."""
    projector, context = _projector(make), _context()
    _expect_derivative(lambda m: _scalar(projector(_normal(m), context)), _mean(), "the base")


@projectors
def every_parameter_gets_a_gradient(make: Make) -> None:
    """A sample and its log-probability depend on every parameter."""
    projector = _projector(make)
    expect_gradients(projector, _scalar(projector(_normal(_mean()), _context())))


@divergences
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


@divergences
def equal_points_are_at_distance_zero(make: Make) -> None:
    """Two equal densities of almost no spread are no distance apart."""
    actual = make()(_normal(_mean(), DIRAC), _normal(_mean(), DIRAC))
    expect_close(actual, torch.zeros_like(actual), "zero for equal points", tolerance=1e-2)


@divergences
def grows_with_the_distance(make: Make) -> None:
    """Points farther apart are farther apart, on either side, and the number is not negative."""
    divergence, mean = make(), _mean()
    for sign in (-1, 1):
        apart = [sign * shift for shift in (0.0, 0.5, 1.0, 2.0, 4.0)]
        numbers = torch.stack([_at(divergence, mean, shift) for shift in apart])
        expect(numbers.min() > -1e-2, "no negative number", f"{numbers.min().item():.3g}")
        grows = bool((numbers.diff(dim=0) > 0).all())
        expect(grows, "numbers that grow with the distance", numbers[:, 0].tolist())


@divergences
def gradients_reach_both_sides(make: Make) -> None:
    """Means and scales of both densities get finite gradients that are not zero."""
    means = _mean(), _mean() + 1
    scales = [torch.full_like(means[0], scale) for scale in (0.5, 1.5)]
    sides = [one.requires_grad_() for one in (*means, *scales)]
    total = make()(_normal(means[0], scales[0]), _normal(means[1], scales[1])).sum()
    gradients = torch.autograd.grad(total, sides, allow_unused=True)
    names = ("mean of q", "mean of p", "scale of q", "scale of p")
    for name, gradient in zip(names, gradients, strict=True):
        alive = gradient is not None and bool(
            gradient.isfinite().all() and gradient.abs().sum() > 0
        )
        expect(alive, f"a finite gradient in the {name} that is not zero", gradient)


@divergences
def takes_densities_of_every_kind(make: Make) -> None:
    """Densities need not be Normal, nor have a closed form: all have ``rsample`` and ``log_prob``.

    Projectors give such densities, and so do the encoders of plugins.
    """
    divergence = make()
    for density_of in (_projected, _student_t, _correlated):
        q, p = (density_of(_mean() + shift) for shift in (0.0, 1.0))
        told = f"a number for {type(q).__name__} too, from rsample and log_prob, which all have"
        with expect_success(told), torch.no_grad():  # as in validation
            actual = divergence(q, p)
        expect_shape(actual, (BATCH,), "a divergence")
        expect(actual.isfinite().all(), "finite numbers", actual.tolist())


@divergences
def divergence_reaches_every_parameter(make: Make) -> None:
    """If the divergence has parameters, its number depends on each."""
    divergence = make()
    expect_gradients(divergence, divergence(_normal(_mean()), _normal(_mean() + 1)).sum())


def _projector(make: Make) -> Any:
    # Away from its start, where a flow is nearly the identity and hides its mistakes.
    return perturbed(double(make(features=LATENT, context_features=CONTEXT)))


def _expect_exact(
    projector: Any, context: Tensor, base_of: Callable[[Tensor], Distribution]
) -> None:
    mean = _mean().requires_grad_()
    base = base_of(mean)
    projected = projector(base, context)
    sample = repeatable(projected.rsample)
    actual = projected.log_prob(sample)
    # The base sample is its mean plus noise, so the Jacobian in the mean is the map's.
    rows = [torch.autograd.grad(y.sum(), mean, retain_graph=True)[0] for y in sample.unbind(-1)]
    logdet = torch.linalg.slogdet(torch.stack(rows, dim=1)).logabsdet
    expected = base.log_prob(repeatable(base.rsample)) - logdet
    # nflows' splines move a knot by 1e-6 while they look for the bin
    told = "log p(z) - log |det J| of the sample, where log p is the base's own log_prob"
    expect_close(actual, expected, told, tolerance=1e-5)


def _context(batch: int = BATCH) -> Tensor:
    return torch.randn(batch, CONTEXT, dtype=torch.float64)


def _first(density: Distribution) -> Tensor:
    sample = repeatable(density.rsample)
    return torch.cat([sample[0], density.log_prob(sample)[:1]])


def _scalar(density: Distribution) -> Tensor:
    sample = repeatable(density.rsample)
    return sample.square().sum() + density.log_prob(sample).sum()


def _expect_derivative(function: Callable[[Tensor], Tensor], at: Tensor, what: str) -> None:
    difference = ""
    try:
        gradcheck(function, at.requires_grad_(), eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True)
    except GradcheckError as error:
        difference = " ".join(str(error).split()).partition(" The above")[0]
    expect(not difference, f"a derivative in {what} that equals finite differences", difference)


def _mean() -> Tensor:
    return torch.linspace(-1, 1, BATCH * LATENT, dtype=torch.float64).reshape(BATCH, LATENT)


def _normal(mean: Tensor, scale: float | Tensor = 0.5) -> Distribution:
    return Independent(Normal(mean, torch.as_tensor(scale).to(mean).expand_as(mean)), 1)


def _student_t(mean: Tensor) -> Distribution:
    return Independent(StudentT(torch.full_like(mean, 2.5), mean, torch.full_like(mean, 0.5)), 1)


def _correlated(mean: Tensor) -> Distribution:
    covariance = 0.2 * torch.eye(LATENT).to(mean) + 0.1
    return MultivariateNormal(mean, covariance.expand(len(mean), -1, -1))


def _projected(mean: Tensor) -> Distribution:
    return TransformedDistribution(
        _normal(mean), AffineTransform(0.5, 2.0, event_dim=1, cache_size=1)
    )


def _at(divergence: Any, mean: Tensor, shift: float) -> Tensor:
    actual: Tensor = divergence(_normal(mean + shift, DIRAC), _normal(mean, DIRAC))
    return actual
