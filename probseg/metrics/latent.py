"""How much of its latent space a model uses: Gini index, effective rank, KL and active units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from probseg.errors import InputError, MissingDensityError
from probseg.interfaces import Evaluation
from probseg.options import check_choice
from probseg.utils.devices import to_float64

Spectrum = Literal["scale", "variance"]


def gini(values: Tensor) -> Tensor:
    """Return the Gini index of singular values, eq. (20) of docs/method.md: how unequal they are.

    ``1 − 2 Σ_k (σ_k / ‖σ‖₁) (L − k + ½) / L`` with σ in ascending order, k from 1 to L.

    Args:
        values: Non-negative, (..., L).

    Returns:
        (...,) from 0 (all equal) to 1 − 1/L (a single one), float64; lower uses more dimensions.

    Raises:
        InputError: A value is negative or not finite, or all of a vector are zero.

    References:
        Hurley and Rickard, Comparing measures of sparsity, 2009.

    >>> gini(torch.tensor([0.0, 0.0, 0.0, 2.0])).item()
    0.75
    """
    shares = _shares(values).sort(-1).values
    size = shares.shape[-1]
    rank = torch.arange(1, size + 1, dtype=shares.dtype, device=shares.device)
    return 1 - 2 * (shares * (size - rank + 0.5) / size).sum(-1)


def effective_rank(values: Tensor) -> Tensor:
    """Return the effective rank, the exponential of the singular values' entropy.

    ``exp(−Σ_k p_k log p_k)`` with ``p_k = σ_k / ‖σ‖₁``.

    Args:
        values: Non-negative singular values, (..., L).

    Returns:
        (...,) from 1 (a single one) to L (all equal), float64.

    Raises:
        InputError: A value is negative or not finite, or all of a vector are zero.

    References:
        Roy and Vetterli, The effective rank: a measure of effective dimensionality, 2007.
    """
    entropy: Tensor = torch.special.entr(_shares(values)).sum(-1)
    return entropy.exp()


def kl_per_dimension(posterior: Distribution, prior: Distribution) -> Tensor:
    """Return the Kullback-Leibler divergence of each latent dimension.

    ``KL(N(μ_q, σ_q²) ‖ N(μ_p, σ_p²))``; the sum over dimensions is the KL term of the objective.

    Args:
        posterior: Axis-aligned Normal with batch (B,) and event (L,).
        prior: The same.

    Returns:
        (B, L) in nats, float64.

    Raises:
        InputError: One of them is not an axis-aligned Normal.
    """
    return kl_divergence(_normal(posterior, "posterior"), _normal(prior, "prior"))


def active_units(means: Tensor, *, threshold: float = 0.01) -> Tensor:
    """Return which latent dimensions are active: their posterior mean varies between images.

    ``Var_x(E_q(z|x)[z]) > threshold``; the variance is over the images given (divided by their
    number).

    Args:
        means: Posterior means of the images of a whole data set, (B, L).
        threshold: Variance above which a dimension is active.

    Returns:
        (L,) bool; its sum is the number of active units.

    Raises:
        InputError: There are fewer than two images.

    References:
        Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016, section 5.2.
    """
    if means.ndim != 2 or len(means) < 2:
        raise InputError(
            "means must be (images, latent dimensions) of two images or more, not "
            f"{tuple(means.shape)}"
        )
    return to_float64(means).var(dim=0, correction=0) > threshold


def scale_of(density: Distribution) -> Tensor | None:
    """Return the standard deviation (B, L) of a density (B,), or None where it has none to give."""
    try:
        scale: Tensor = density.stddev
    except NotImplementedError:  # such as a flow's
        return None
    return scale.flatten(1)


@dataclass(frozen=True)
class Gini:
    """The Gini index of the prior's singular values, see :func:`gini`.

    Args:
        of: Whether to take the Normal's scales σ or its variances σ²; the cSAE paper leaves it
            open.
    """

    of: Spectrum = "scale"
    higher_is_better = None  # even scales may all be unused

    def __post_init__(self) -> None:
        check_choice("of", self.of, get_args(Spectrum))

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the index of each image's prior, (B,)."""
        return gini(_spectrum(evaluation, self.of))


@dataclass(frozen=True)
class EffectiveRank:
    """The effective rank of the prior's singular values, see :func:`effective_rank`.

    Args:
        of: Whether to take the Normal's scales σ or its variances σ².
    """

    of: Spectrum = "scale"
    higher_is_better = None

    def __post_init__(self) -> None:
        check_choice("of", self.of, get_args(Spectrum))

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the rank of each image's prior, (B,)."""
        return effective_rank(_spectrum(evaluation, self.of))


@dataclass(frozen=True)
class LatentKL:
    """The KL of base posterior and prior, summed over dimensions; zero means collapse."""

    higher_is_better = None  # training minimises it, yet zero is collapse

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the divergence of each image, (B,) in nats."""
        posterior = _density(evaluation.posterior, "posterior")
        return kl_per_dimension(posterior, _density(evaluation.prior, "prior")).sum(-1)


def _shares(values: Tensor) -> Tensor:
    values = to_float64(values)
    total = values.sum(-1, keepdim=True)
    good = (values.isfinite() & (values >= 0)).all() & (total > 0).all()
    if not good:  # one question only, as each waits for the device
        raise InputError(
            "singular values must be finite and non-negative, and not all zero, not values from "
            f"{float(values.min())} to {float(values.max())}"
        )
    return values / total


def _spectrum(evaluation: Evaluation, of: Spectrum) -> Tensor:
    scale = _normal(_density(evaluation.prior, "prior"), "prior").scale
    return scale if of == "scale" else scale.square()


def _density(density: Distribution | None, name: str) -> Distribution:
    if density is None:
        raise MissingDensityError(
            f"the evaluation has no {name}; give Evaluation(..., {name}=...), or leave this metric "
            "out for a model that has none"
        )
    return density


def _normal(density: Distribution, name: str) -> Normal:
    base = density.base_dist if isinstance(density, Independent) else density
    if not isinstance(base, Normal):
        raise InputError(
            f"the {name} must be an axis-aligned Normal, Independent(Normal(loc, scale), 1), not "
            f"{density}; give the base density instead of a projected one, and leave out "
            "gini and effective-rank for a model with other densities"
        )
    return Normal(to_float64(base.loc), to_float64(base.scale), validate_args=False)
