"""Stratified samples of a density: a few that together stand for the whole of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

from probseg.errors import InputError

_NEAREST = 6e-8  # to 0, where single precision still tells 1 - p from 1


def stratified_normal(n: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    r"""Return n draws (n, \*shape) of standard normal numbers that share out the density.

    They are a Latin hypercube: the n values of a number lie one in each of n intervals of equal
    probability, in random order. Of an even n the second half are the first half's negatives
    (antithetic pairs). Each draw alone is distributed as an independent one is.

    References:
        McKay, Beckman and Conover, "A comparison of three methods for selecting values of input
        variables in the analysis of output from a computer code", Technometrics 21(2), 1979.
        Hammersley and Morton, "A new Monte Carlo technique: antithetic variates", Mathematical
        Proceedings of the Cambridge Philosophical Society 52(3), 1956.
    """
    paired = n % 2 == 0
    size = (n // 2 if paired else n, *shape)
    interval = torch.rand(size, device=device).argsort(0)
    normal = _quantile((interval + torch.rand(size, device=device)) / n)
    if not paired:
        return normal
    half = torch.where(torch.rand(size, device=device) < 0.5, normal, -normal)
    return torch.cat([half, -half])


def stratified_sample(density: Distribution, n: int) -> Tensor:
    """Return n samples (n, B, L) of each density of a batch (B,), with gradients.

    Of a mixture each component has its share of the n samples, rounded up or down at random.

    Raises:
        InputError: The density is no Normal, no mixture of them and no transformation of one.
    """
    match density:
        case Independent():
            return stratified_sample(density.base_dist, n)
        case TransformedDistribution():
            sample = stratified_sample(density.base_dist, n)
            for transform in density.transforms:
                sample = transform(sample)
            return sample
        case MixtureSameFamily():
            each = stratified_sample(density.component_distribution, n)  # (n, B, G, L)
            component = stratified_choice(density.mixture_distribution.probs, n)
            return torch.take_along_dim(each, component[..., None, None], dim=2).squeeze(2)
        case Normal(loc=Tensor() as mean):
            return _noise(n, mean) * density.scale + mean
        case MultivariateNormal(loc=Tensor() as mean):
            return _times(density.scale_tril, _noise(n, mean)) + mean
        case LowRankMultivariateNormal(loc=Tensor() as mean):
            shared = _noise(n, density.cov_factor[..., 0, :])
            own: Tensor = _noise(n, mean) * density.cov_diag.sqrt()
            return _times(density.cov_factor, shared) + own + mean
    raise InputError(
        f"a density of class {type(density).__name__} has no stratified samples; pass "
        "stratified=False"
    )


def stratified_choice(probabilities: Tensor, n: int) -> Tensor:
    """Return n choices (n, B) of probabilities (B, G), each chosen n p times or the next to it.

    References:
        Kitagawa, "Monte Carlo filter and smoother for non-Gaussian nonlinear state space models",
        Journal of Computational and Graphical Statistics 5(1), 1996 (systematic resampling).
    """
    batch, device = len(probabilities), probabilities.device
    steps = torch.arange(n, device=device)[:, None]
    point = (steps + torch.rand(batch, device=device)) / n
    passed = probabilities.cumsum(-1)[:, :-1] <= point[..., None]
    order = torch.rand(n, batch, device=device).argsort(0)
    return passed.sum(-1).take_along_dim(order, dim=0)


def _noise(n: int, like: Tensor) -> Tensor:
    return stratified_normal(n, tuple(like.shape), like.device).to(like.dtype)


def _quantile(probability: Tensor) -> Tensor:
    """Return the standard normal quantile."""
    return math.sqrt(2) * torch.erfinv(2 * probability.clamp(_NEAREST, 1 - _NEAREST) - 1)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    product: Tensor = (matrix @ vector[..., None]).squeeze(-1)
    return product
