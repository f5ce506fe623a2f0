"""A flow of zuko as a projector of probseg; zuko is imported when a flow is built."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from probseg.errors import OptionError
from probseg.projectors.flow import Flow, in_own_precision

_INITIAL_FACTOR = 0.01  # times zuko's initial weights, in the layers before a step's parameters


def projector(name: str, features: int, context_features: int, steps: int, **options: Any) -> Flow:
    """Return the projector made of one of zuko's flows, near the identity.

    Args:
        name: A class of ``zuko.flows``.
        features: L.
        context_features: Width of the context.
        steps: How many transforms are composed.
        **options: Further options of the class.

    Raises:
        OptionError: There is no step.
    """
    if steps < 1:
        raise OptionError(f"a flow needs at least one step, not steps={steps}")
    with _unvalidated():
        zuko = importlib.import_module("zuko")
        flow = getattr(zuko.flows, name)(features, context_features, transforms=steps, **options)
    # Between steps zuko squeezes some flows' features into [-11, 11], far from the identity.
    steps_near_identity = [step for step in flow.transform.transforms if hasattr(step, "hyper")]
    for step in steps_near_identity:
        _shrink(step.hyper[-1])
        in_own_precision(step.hyper)
    return Flow(Conditional(zuko.lazy.LazyComposedTransform(*steps_near_identity)))


class Conditional(nn.Module):
    """A lazy transform of zuko, called as :class:`probseg.projectors.flow.Flow` calls one.

    Args:
        transform: A ``zuko.lazy.LazyTransform``.
    """

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(z) (N, L) and log |det df/dz| (N,) of z (N, L) and a context (N, c)."""
        with _unvalidated():
            mapped: tuple[Tensor, Tensor] = self.transform(context).call_and_ladj(z)
        return mapped

    def inverse(self, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (N, L) and log |det dz/dy| (N,) of y = f(z), NaN where zuko finds no z."""
        with _unvalidated():
            transform = self.transform(context)
            z = transform.inv(y)
            again, log_det = transform.call_and_ladj(z)
        inverted = torch.isclose(again, y, rtol=1e-3, atol=1e-3).all(-1, keepdim=True)
        return torch.where(inverted, z, torch.nan), -log_det


def _shrink(layer: Any) -> None:
    with torch.no_grad():
        layer.weight.mul_(_INITIAL_FACTOR)
        layer.bias.zero_()


@contextmanager
def _unvalidated() -> Iterator[None]:
    """Turn off the validation of torch's distributions in the context, and restore it afterwards.

    zuko turns it off for the whole process when it is imported, and relies on that.
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
