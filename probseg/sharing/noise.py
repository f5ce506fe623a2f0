"""Sampling as a pure function: the sample of a density that given noise stands for."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

from probseg.errors import ExportError


def from_noise(density: Distribution, noise: Tensor) -> Tensor:
    r"""Return the sample of a density over the latent space that standard normal noise stands for.

    .. math:: z = \mu + \sigma \odot \epsilon, \quad z = \mu + L \epsilon, \quad z = f(z_0)

    for independent and multivariate normals, and for flows of them.

    Args:
        density: Batch (B,) and event (L,).
        noise: (n, B, L), independent standard normal numbers.

    Returns:
        Samples (n, B, L), distributed as the density.

    Raises:
        ExportError: The density is none of those.

    Examples:
        >>> import torch
        >>> from_noise(Normal(torch.ones(2), 3.0), torch.tensor([0.0, 1.0]))
        tensor([1., 4.])
    """
    if isinstance(density, Independent):
        return from_noise(density.base_dist, noise)
    if isinstance(density, Normal):
        return density.loc + density.scale * noise
    if isinstance(density, MultivariateNormal):
        return density.loc + (density.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    if isinstance(density, TransformedDistribution):
        sample = from_noise(density.base_dist, noise)
        for transform in density.transforms:
            sample = transform(sample)
        return sample
    raise ExportError(
        f"it is not known how a {type(density).__name__} is sampled from normal noise; known: "
        "Normal, Independent, MultivariateNormal and TransformedDistribution of them"
    )
