"""Projectors made of nflows transforms, and the one that changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, TransformedDistribution, constraints
from torch.distributions.transforms import Transform

from probseg.utils.tensors import in_single_precision

if TYPE_CHECKING:
    from nflows.transforms import Transform as NflowsTransform

Direction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Flow(nn.Module):
    """A projector made of an nflows transform: the density of f(z, c) for z from the base.

    Args:
        transform: Maps (N, L) and a context (N, c) to (N, L) and log-determinants (N,). It is
            given at least single precision, whatever the model is in.
    """

    def __init__(self, transform: NflowsTransform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, base: Distribution, context: Tensor) -> Distribution:
        """Return the projected density, whose context is (B, c) for a base of batch (B,)."""
        step = ConditionalTransform(self.transform, context)
        return TransformedDistribution(base, [step], validate_args=False)


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


class ConditionalTransform(Transform):
    """An nflows transform with its context, as torch.distributions wants it.

    The last sample is remembered, so the density of a sample never needs an inverse.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, transform: NflowsTransform, context: Tensor) -> None:
        super().__init__(cache_size=1)
        self._transform = transform
        self._context = context
        self._last: tuple[Tensor | None, Tensor | None] = (None, None)

    def _call(self, x: Tensor) -> Tensor:
        y, log_det = self._run(self._transform.forward, x)
        self._last = (x, log_det)
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        return self._run(self._transform.inverse, y)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log |det df/dx| with the shape of x less its last axis."""
        last_x, last_log_det = self._last
        if last_x is x and last_log_det is not None:
            return last_log_det
        return self._run(self._transform.forward, x)[1]

    def _run(self, direction: Direction, x: Tensor) -> tuple[Tensor, Tensor]:
        context = self._context.expand(*x.shape[:-1], -1).flatten(0, -2)
        wide = in_single_precision(x.flatten(0, -2))  # densities need full precision
        with torch.autocast(x.device.type, enabled=False):
            y, log_det = direction(wide, context.to(wide.dtype))
        return y.view(x.shape).to(x.dtype), log_det.view(x.shape[:-1])


def in_own_precision(network: nn.Module) -> None:
    """Let a network inside a flow compute in its weights' type, and give at least single precision.

    A model in half precision narrows the weights, while the map that they make stays precise.
    """
    network.register_forward_pre_hook(_narrow)
    network.register_forward_hook(_widen)


def _narrow(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    own = next(network.parameters()).dtype
    return tuple(tensor.to(own) for tensor in inputs)


def _widen(network: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return in_single_precision(output)
