"""The projector that changes nothing."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution


class Identity(nn.Module):
    """Returns the base density itself, so that a divergence with a closed form keeps it.

    Args:
        features: L, unused.
        context_features: Width of the context, unused.
    """

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()

    def forward(self, base: Distribution, context: Tensor) -> Distribution:
        """Return ``base``."""
        return base
