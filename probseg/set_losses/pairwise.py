"""The L1 distances of all pairs of points, with a gradient that takes as little memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def l1_distances(points: Tensor) -> Tensor:
    r"""Return the distances (*B, S, S) of points (*B, S, P) to each other.

    .. math:: d_{ij} = \sum_p |u_{ip} - u_{jp}|, \quad
        \frac{\partial L}{\partial u_i} = \sum_j
        \Big(\frac{\partial L}{\partial d_{ij}} + \frac{\partial L}{\partial d_{ji}}\Big)
        \, \mathrm{sign}(u_i - u_j)

    Neither holds the S² P differences of all pairs: besides its result the gradient takes S P
    numbers of each batch entry, for one i at a time. On CUDA that of ``torch.cdist`` takes S² P.
    """
    distances: Tensor = _L1Distances.apply(points)
    return distances


class _L1Distances(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor) -> Tensor:
        ctx.save_for_backward(points)
        return torch.cdist(points, points, p=1)  # in one pass, without the differences

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_distances: Tensor) -> Tensor:
        (points,) = ctx.saved_tensors
        both = of_distances + of_distances.mT
        gradient = torch.empty_like(points)
        for i in range(points.shape[-2]):
            one = slice(i, i + 1)
            signs = (points[..., one, :] - points).sign_()
            gradient[..., one, :] = both[..., one, :] @ signs
        return gradient
