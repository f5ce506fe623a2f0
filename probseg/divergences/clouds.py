"""Densities as weighted points, which optimal transport compares."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from probseg.errors import OptionError
from probseg.options import did_you_mean

_WEIGHTS = ("uniform", "density")


def checked(samples: int, weights: str) -> tuple[int, str]:
    """Return the two options once they are sure to be valid.

    Raises:
        OptionError: There is no sample, or no weights are called so.
    """
    if samples < 1:
        raise OptionError(f"optimal transport needs at least one sample, not {samples}")
    if weights not in _WEIGHTS:
        raise OptionError(
            f"no weights are called {weights!r}{did_you_mean(weights, _WEIGHTS)}; "
            f"known: {', '.join(_WEIGHTS)}"
        )
    return samples, weights


def cloud(density: Distribution, samples: int, weights: str) -> tuple[Tensor, Tensor]:
    """Return n points (B, n, L) of a density and their weights (B, n), which sum to one."""
    z = density.rsample((samples,))
    if weights == "density":
        mass = density.log_prob(z).softmax(0)
    else:
        mass = z.new_full(z.shape[:-1], 1 / samples)
    return z.transpose(0, 1).contiguous(), mass.transpose(0, 1).contiguous()
