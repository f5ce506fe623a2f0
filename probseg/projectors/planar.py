"""Amortised planar flows (Rezende & Mohamed, 2015), the projectors of the cSAE."""

from __future__ import annotations

import math

import torch
from nflows.transforms import CompositeTransform, Transform
from torch import Tensor, nn
from torch.nn import functional

from probseg.options import check_integer
from probseg.projectors.flow import Flow

_IDENTITY_DOT = math.log(math.e - 1)  # softplus of it is one, so that u_hat vanishes


class PlanarStep(Transform):  # type: ignore[misc]  # nflows has no types
    r"""One planar step, eq. (2) of docs/method.md, with parameters affine in the context.

    .. math::
        f(z) = z + \hat u \tanh(w^\top z + b), \quad
        \hat u = u + (\mathrm{softplus}(w^\top u) - 1 - w^\top u) \frac{w}{\|w\|^2}

    where :math:`w^\top \hat u \ge -1` makes it invertible. It starts at the identity.

    Args:
        features: L.
        context_features: Width of the context.

    References:
        Rezende & Mohamed, "Variational Inference with Normalizing Flows", ICML 2015, eq. (10) and
        appendix A.1.
    """

    def __init__(self, features: int, context_features: int) -> None:
        super().__init__()
        self.amortise = nn.Linear(context_features, 2 * features + 1)
        nn.init.normal_(self.amortise.weight, std=1e-3)
        direction = functional.normalize(torch.randn(features), dim=0)
        with torch.no_grad():
            self.amortise.bias.copy_(
                torch.cat([_IDENTITY_DOT * direction, direction, torch.zeros(1)])
            )

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(z) (N, L) and log |det df/dz| (N,) of z (N, L) and a context (N, c)."""
        u, w, b, gain = self._amortised(inputs, context)
        height = torch.tanh((w * inputs).sum(-1, keepdim=True) + b)
        return inputs + u * height, _log_det(height, gain)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (N, L) and log |det dz/dy| (N,) of y = f(z), which has no closed form.

        Along w the map is one-dimensional and increasing, so bisection finds w'z; one Newton
        step from there makes it differentiable.
        """
        u, w, b, gain = self._amortised(inputs, context)
        target = (w * inputs).sum(-1, keepdim=True)
        slope = gain - 1  # w'u_hat
        along = _solve(target.detach(), slope.detach(), b.detach())
        height = torch.tanh(along + b)
        residual = along + slope * height - target
        along = along - residual / _derivative(height, gain).detach()
        height = torch.tanh(along + b)
        return inputs - u * height, -_log_det(height, gain)

    def _amortised(self, like: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        parameters = self.amortise(context.to(self.amortise.weight.dtype)).to(like.dtype)
        features = like.shape[-1]
        u, w, b = parameters.split([features, features, 1], dim=-1)
        squared = (w * w).sum(-1, keepdim=True)
        guarded = squared.clamp_min(torch.finfo(like.dtype).tiny ** 0.5)
        dot = (w * u).sum(-1, keepdim=True)
        target = functional.softplus(dot)
        # 1 + w'u_hat is the target, save where the guard keeps u_hat from reaching it
        gain = torch.lerp(1 + dot, target, (squared / guarded).detach())
        return u + (target - 1 - dot) * w / guarded, w, b, gain


def planar(features: int, context_features: int, *, steps: int = 2) -> Flow:
    """Return a planar flow of ``steps`` steps; the cSAE has two.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many planar steps are composed.

    Raises:
        OptionError: There is no step.
    """
    count = check_integer("steps", steps)
    return Flow(CompositeTransform([PlanarStep(features, context_features) for _ in range(count)]))


def _derivative(height: Tensor, gain: Tensor) -> Tensor:
    # 1 + w'u_hat (1 - tanh^2), written as a sum of two terms that are never negative
    squared = height * height
    derivative = squared + gain * (1 - squared)
    return derivative.clamp_min(torch.finfo(height.dtype).tiny)


def _log_det(height: Tensor, gain: Tensor) -> Tensor:
    return _derivative(height, gain).log().squeeze(-1)


def _solve(target: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """Return the root a of a + slope tanh(a + shift) = target, which increases with a."""
    low, high = target - slope.abs(), target + slope.abs()
    for _ in range(torch.finfo(target.dtype).bits):  # a bit of precision a time
        middle = (low + high) / 2
        below = middle + slope * torch.tanh(middle + shift) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
