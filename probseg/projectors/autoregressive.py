"""The autoregressive transforms of nflows as projectors."""

from __future__ import annotations

from collections.abc import Callable

from nflows.transforms import (
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    ReversePermutation,
    Transform,
)

from probseg.options import check_integer
from probseg.projectors.flow import Flow, in_own_precision
from probseg.projectors.spline import SplineStep


def affine_autoregressive(
    features: int, context_features: int, *, steps: int = 2, hidden_features: int = 32
) -> Flow:
    """Return masked affine autoregressive steps with the order reversed between them.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many.
        hidden_features: Width of each step's network.

    Raises:
        OptionError: There is no step.

    References:
        Papamakarios et al., "Masked Autoregressive Flow for Density Estimation", NeurIPS 2017.
    """

    def step() -> Transform:
        return MaskedAffineAutoregressiveTransform(features, hidden_features, context_features)

    return _alternating(step, features, steps)


def rational_quadratic(
    features: int,
    context_features: int,
    *,
    steps: int = 2,
    hidden_features: int = 32,
    bins: int = 8,
    tail_bound: float = 5.0,
) -> Flow:
    """Return masked autoregressive rational-quadratic splines, linear beyond ``tail_bound``.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many.
        hidden_features: Width of each step's network.
        bins: Pieces of each spline.
        tail_bound: The spline covers [-tail_bound, tail_bound].

    Raises:
        OptionError: There is no step.

    References:
        Durkan et al., "Neural Spline Flows", NeurIPS 2019.
    """

    def step() -> Transform:
        return SplineStep(
            features,
            hidden_features,
            context_features,
            num_bins=bins,
            tails="linear",
            tail_bound=tail_bound,
        )

    return _alternating(step, features, steps)


def _alternating(step: Callable[[], Transform], features: int, steps: int) -> Flow:
    count = check_integer("steps", steps)
    transforms = [t for _ in range(count) for t in (step(), ReversePermutation(features))]
    for transform in transforms[::2]:
        in_own_precision(transform.autoregressive_net)
    return Flow(CompositeTransform(transforms))
