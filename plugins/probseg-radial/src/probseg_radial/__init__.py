"""A radial flow whose centre, reach and strength are read from the context."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform, TransformedDistribution, constraints
from torch.nn.functional import softplus


class Radial(nn.Module):
    """Pushes a density away from, or towards, a centre: ``f(z) = z + b (z - c) / (a + r)``.

    Here ``r = ||z - c||``, and ``c`` (L,), ``a > 0`` and ``b > -a`` are affine functions of the
    context, near the identity (``b = 0``) at the start.

    Args:
        features: L, the number of latent dimensions.
        context_features: Width of the context.
        scale: Standard deviation of the initial weights.

    References:
        Rezende and Mohamed, Variational inference with normalizing flows, ICML 2015, eq. (14).
    """

    def __init__(self, *, features: int, context_features: int, scale: float = 0.01) -> None:
        super().__init__()
        self.features = features
        self.parameters_of = nn.Linear(context_features, features + 2)
        nn.init.normal_(self.parameters_of.weight, std=scale)
        nn.init.zeros_(self.parameters_of.bias)

    def forward(self, base: Distribution, context: Tensor) -> Distribution:
        """Return the density of f(z) for z from ``base``; context is (B, c)."""
        center, reach, growth = self.parameters_of(context).split([self.features, 1, 1], dim=-1)
        a = softplus(reach)
        step = RadialTransform(center, a, softplus(growth) - a)
        return TransformedDistribution(base, step, validate_args=False)  # which waits for a device


class RadialTransform(Transform):
    """The map itself, for centre (B, L), a (B, 1) and b (B, 1)."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, center: Tensor, a: Tensor, b: Tensor) -> None:
        super().__init__(cache_size=1)  # a sample's own log_prob need not invert the map
        self.center, self.a, self.b = center, a, b

    def _call(self, z: Tensor) -> Tensor:
        offset = z - self.center
        return z + offset * self.b / (self.a + _norm(offset))

    def _inverse(self, y: Tensor) -> Tensor:
        # ||y - c|| = r (1 + b / (a + r)) is a quadratic equation in r with one positive root
        offset = y - self.center
        length = _norm(offset)
        half = (length - self.a - self.b) / 2
        r = half + (half**2 + self.a * length).sqrt()
        return self.center + offset / (1 + self.b / (self.a + r))

    def log_abs_det_jacobian(self, z: Tensor, y: Tensor) -> Tensor:
        """Return log |det J| at z: L - 1 tangential stretches and a radial one."""
        h = 1 / (self.a + _norm(z - self.center))
        tangential = torch.log1p(self.b * h) * (z.shape[-1] - 1)
        return (tangential + torch.log1p(self.a * self.b * h**2)).squeeze(-1)


def _norm(offset: Tensor) -> Tensor:
    # kept off zero, where the norm has no gradient
    return offset.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
