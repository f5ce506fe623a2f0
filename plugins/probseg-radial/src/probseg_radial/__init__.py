"""A radial flow whose centre, reach and strength are read from the context."""

from torch import Tensor
from torch.nn.functional import softplus

from probseg.projectors.amortised import Amortised, VectorTransform


def radial(*, features: int, context_features: int, steps: int = 1) -> Amortised:
    """Return a flow that pushes a density away from, or towards, a centre.

    Args:
        features: L, the number of latent dimensions.
        context_features: Width of the context.
        steps: How many radial steps are composed.

    References:
        Rezende and Mohamed, Variational inference with normalizing flows, ICML 2015, eq. (14).
    """
    shapes = {"center": (features,), "reach": (1,), "growth": (1,)}
    return Amortised(Radial, shapes, context_features=context_features, steps=steps)


class Radial(VectorTransform):
    """The map ``f(z) = z + b (z - c) / (a + r)`` with ``r = ||z - c||``, ``a > 0`` and ``b > -a``.

    Args:
        center: c (B, L).
        reach: (B, 1), unconstrained; a is its softplus.
        growth: (B, 1), unconstrained; a + b is its softplus, so that b = 0 at the start.
    """

    def __init__(self, center: Tensor, reach: Tensor, growth: Tensor) -> None:
        super().__init__()
        self.center, self.a = center, softplus(reach)
        self.b = softplus(growth) - self.a

    def _call(self, z: Tensor) -> Tensor:
        offset = z - self.center
        return z + offset * self.b / (self.a + _norm(offset))

    def _inverse(self, y: Tensor) -> Tensor:
        # ||y - c|| = r (1 + b / (a + r)) is a quadratic equation in r with one positive root
        offset = y - self.center
        half = (_norm(offset) - self.a - self.b) / 2
        r = half + (half**2 + self.a * _norm(offset)).sqrt()
        return self.center + offset / (1 + self.b / (self.a + r))

    def log_abs_det_jacobian(self, z: Tensor, y: Tensor) -> Tensor:
        """Return log |det J| at z: L - 1 tangential stretches and a radial one."""
        h = 1 / (self.a + _norm(z - self.center))
        tangential = (self.b * h).log1p() * (z.shape[-1] - 1)
        return (tangential + (self.a * self.b * h**2).log1p()).squeeze(-1)


def _norm(offset: Tensor) -> Tensor:
    # kept off zero, where the norm has no gradient
    return offset.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
