"""Exact optimal transport between samples (POT)."""

from __future__ import annotations

import ot
import torch
from torch import Tensor
from torch.distributions import Distribution

from probseg.divergences.point_clouds import check_sampling, point_cloud


class ExactOT:
    r"""Exact optimal transport between samples of q and p, one number per image.

    .. math:: \min_\gamma \sum_{ij} \gamma_{ij} \tfrac12 \|x_i - y_j\|^2

    on the scale of the registered ``"sinkhorn"``, of which it is the limit without blur. POT solves
    it on the CPU, which each step of a training on an accelerator waits for.

    Args:
        samples: N_OT.
        weights: ``"uniform"``, or ``"density"`` for samples weighed by their normalised density.

    Raises:
        OptionError: No sample, or unknown weights.

    References:
        Flamary et al., "POT: Python Optimal Transport", JMLR 2021.
    """

    def __init__(self, *, samples: int = 16, weights: str = "uniform") -> None:
        check_sampling(samples, weights)
        self.samples, self.weights = samples, weights

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,)."""
        x, a = point_cloud(q, self.samples, self.weights)
        y, b = point_cloud(p, self.samples, self.weights)
        cost = (x[:, :, None] - y[:, None]).square().sum(-1) / 2
        return torch.stack([ot.emd2(*problem) for problem in zip(a, b, cost, strict=True)])
