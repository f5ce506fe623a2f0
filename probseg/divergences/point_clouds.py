"""Densities as weighted point clouds, which optimal transport compares."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from probseg.options import check_choice, check_integer


def check_sampling(samples: int, weights: str) -> None:
    """Check the two options of :func:`point_cloud`.

    Raises:
        OptionError: There is no sample, or the weights are unknown.
    """
    check_integer("samples", samples)
    check_choice("weights", weights, ("uniform", "density"))


def point_cloud(density: Distribution, samples: int, weights: str) -> tuple[Tensor, Tensor]:
    """Return n samples (B, n, L) of a density and their weights (B, n), which sum to one."""
    z = density.rsample((samples,))
    if weights == "density":
        mass = density.log_prob(z).softmax(0)
    else:
        mass = z.new_full(z.shape[:-1], 1 / samples)
    return z.transpose(0, 1).contiguous(), mass.transpose(0, 1).contiguous()
