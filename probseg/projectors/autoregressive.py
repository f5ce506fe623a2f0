"""The autoregressive transforms of nflows as projectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from nflows.transforms import (
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    ReversePermutation,
    Transform,
)
from torch import Tensor
from torch.nn import functional

from probseg.options import check_integer
from probseg.projectors.flow import Flow, in_own_precision


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


# nflows ships no annotations, so its class is of type Any.
class SplineStep(MaskedPiecewiseRationalQuadraticAutoregressiveTransform):  # type: ignore[misc]
    """The step of nflows, with the same results.

    nflows selects the inputs between the bounds by a mask, and checks them, which waits for the
    device. Here the spline is evaluated at zero for inputs beyond the bounds, and the identity then
    replaces its value; an index is in range whatever the inputs are.
    """

    def _elementwise(
        self, inputs: Tensor, autoregressive_params: Tensor, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        bins, bound = self.num_bins, self.tail_bound
        parameters = autoregressive_params.view(*inputs.shape, 3 * bins - 1)
        widths, heights, slopes = parameters.split([bins, bins, bins - 1], dim=-1)
        x = _knots(widths, bound, least=self.min_bin_width)
        y = _knots(heights, bound, least=self.min_bin_height)
        slopes = _slopes(slopes, least=self.min_derivative)
        inside = (inputs >= -bound) & (inputs <= bound)
        at = torch.where(inside, inputs, 0.0)
        piece = _piece(_bin(y if inverse else x, at), x, y, slopes)
        outputs, log_slope = (_inverse if inverse else _forward)(at, piece)
        outputs = torch.where(inside, outputs, inputs)
        return outputs, torch.where(inside, log_slope, 0.0).sum(-1)


class Piece(NamedTuple):
    """The piece of a spline that each input falls into, all of one shape."""

    left: Tensor
    width: Tensor
    bottom: Tensor
    height: Tensor
    secant: Tensor  # height / width
    start: Tensor  # slope at its left end
    end: Tensor  # slope at its right end


def _knots(raw: Tensor, bound: float, *, least: float) -> Tensor:
    """Return the ends (..., K + 1) of K bins that cover [-bound, bound]."""
    shares = least + (1 - least * raw.shape[-1]) * raw.softmax(-1)
    inner = 2 * bound * shares.cumsum(-1)[..., :-1] - bound
    return functional.pad(functional.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


def _slopes(raw: Tensor, *, least: float) -> Tensor:
    """Return the slopes (..., K + 1) at all knots, one at the outer two."""
    outer = math.log(math.exp(1 - least) - 1)
    return least + functional.softplus(functional.pad(raw, (1, 1), value=outer))


def _bin(knots: Tensor, at: Tensor) -> Tensor:
    """Return which bin of knots (..., K + 1) each number is in, 0 to K - 1."""
    return (at[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)


def _piece(index: Tensor, x: Tensor, y: Tensor, slopes: Tensor) -> Piece:
    widths, heights = x.diff(dim=-1), y.diff(dim=-1)
    each = (x, widths, y, heights, heights / widths, slopes, slopes[..., 1:])
    return Piece(*(values.gather(-1, index).squeeze(-1) for values in each))


def _forward(x: Tensor, piece: Piece) -> tuple[Tensor, Tensor]:
    """Return the spline's value and the logarithm of its slope, eq. (4) and (5) of Durkan et al."""
    theta = (x - piece.left) / piece.width
    rise = piece.secant * theta.pow(2) + piece.start * (theta * (1 - theta))
    outputs = piece.bottom + piece.height * rise / _denominator(theta, piece)
    return outputs, _log_slope(theta, piece)


def _inverse(y: Tensor, piece: Piece) -> tuple[Tensor, Tensor]:
    """Return the inverse at y and the logarithm of its slope, eq. (6) to (8) of Durkan et al."""
    above = y - piece.bottom
    bend = above * (piece.start + piece.end - 2 * piece.secant)
    a = bend + piece.height * (piece.secant - piece.start)
    b = piece.height * piece.start - bend
    c = -piece.secant * above
    # rounding takes it below zero; a root of zero has no gradient
    discriminant = (b.pow(2) - 4 * a * c).clamp_min(torch.finfo(y.dtype).tiny)
    theta = (2 * c) / (-b - discriminant.sqrt())
    return theta * piece.width + piece.left, -_log_slope(theta, piece)


def _denominator(theta: Tensor, piece: Piece) -> Tensor:
    bend = piece.start + piece.end - 2 * piece.secant
    return piece.secant + bend * (theta * (1 - theta))


def _log_slope(theta: Tensor, piece: Piece) -> Tensor:
    mixed = 2 * piece.secant * (theta * (1 - theta))
    numerator = piece.secant.pow(2) * (
        piece.end * theta.pow(2) + mixed + piece.start * (1 - theta).pow(2)
    )
    return numerator.log() - 2 * _denominator(theta, piece).log()
