"""Straight paths from base states to segmentations, and the integration of a velocity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchdiffeq import odeint

METHODS = ("euler", "midpoint")  # those that never ask for the velocity at the end

Endpoint = Callable[[Tensor, Tensor], Tensor]
"""The expected end, (B, K, H, W), of states (B, K, H, W) at a time (B,)."""


def between(start: Tensor, end: Tensor, time: Tensor) -> Tensor:
    """Return ``(1 - t) start + t end`` of states (B, K, H, W) and times (B,)."""
    return torch.lerp(start, end, time[:, None, None, None])


def transported(endpoint: Endpoint, start: Tensor, *, steps: int, method: str = "euler") -> Tensor:
    r"""Return where states (B, K, H, W) come to from time zero to time one.

    .. math:: \frac{ds_t}{dt} = \frac{E[s_1 | s_t] - s_t}{1 - t}

    With Euler's method the result is the expected end of the last step's state.

    Args:
        endpoint: The expected end of states at a time.
        start: The states at time zero.
        steps: Of equal length.
        method: ``"euler"``, or ``"midpoint"`` with two evaluations a step.
    """

    def velocity(time: Tensor, state: Tensor) -> Tensor:
        return (endpoint(state, time.expand(len(state))) - state) / (1 - time)

    grid = torch.linspace(0, 1, steps + 1, dtype=start.dtype, device=start.device)
    ends = grid[[0, -1]]
    options = {"grid_constructor": lambda function, state, times: grid}
    solution: Tensor = odeint(velocity, start, ends, method=method, options=options)
    return solution[-1]
