"""Optimal transport between samples: entropic (GeomLoss) and exact (POT)."""

from __future__ import annotations

import ot
import torch
from geomloss import SamplesLoss
from torch import Tensor
from torch.distributions import Distribution

from probseg.errors import OptionError, did_you_mean

_WEIGHTS = ("uniform", "density")


class Sinkhorn:
    r"""The Sinkhorn divergence, eq. (11), between samples of q and p, one number per image.

    .. math:: S_\epsilon(q, p) = W_\epsilon(q, p) - \tfrac12 (W_\epsilon(q, q) + W_\epsilon(p, p))

    with the cost :math:`\|x - y\|^2 / 2` for the default ``p=2``. Between n samples each of one
    and the same density it is above zero, and more so the wider the density is.

    Args:
        samples: N_OT.
        p: Exponent of the cost.
        blur: Square root (for p = 2) of the final temperature.
        scaling: Ratio of successive scales of the annealing; nearer to 1 is slower and finer.
        diameter: First scale of the annealing, in latent units.
        weights: ``"uniform"``, or ``"density"`` for samples weighed by their normalised density.

    Raises:
        OptionError: No sample, or unknown weights.

    References:
        Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn
        Divergences", AISTATS 2019; settings of the paper's appendix B.
    """

    def __init__(
        self,
        *,
        samples: int = 16,
        p: int = 2,
        blur: float = 0.05,
        scaling: float = 0.5,
        diameter: float = 100.0,
        weights: str = "uniform",
    ) -> None:
        self.samples, self.weights = _checked(samples, weights)
        self._solve = SamplesLoss(
            "sinkhorn", p=p, blur=blur, scaling=scaling, diameter=diameter, backend="tensorized"
        )

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,)."""
        x, a = _cloud(q, self.samples, self.weights)
        y, b = _cloud(p, self.samples, self.weights)
        # GeomLoss leaves autograd switched on, whatever it was before
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            divergence: Tensor = self._solve(a, x, b, y)
        return divergence


class ExactOT:
    r"""Exact optimal transport between samples of q and p, one number per image.

    .. math:: \min_\gamma \sum_{ij} \gamma_{ij} \tfrac12 \|x_i - y_j\|^2

    on the scale of :class:`Sinkhorn`, to which it is the limit of no blur.

    Args:
        samples: N_OT.
        weights: ``"uniform"``, or ``"density"`` for samples weighed by their normalised density.

    Raises:
        OptionError: No sample, or unknown weights.

    References:
        Flamary et al., "POT: Python Optimal Transport", JMLR 2021.
    """

    def __init__(self, *, samples: int = 16, weights: str = "uniform") -> None:
        self.samples, self.weights = _checked(samples, weights)

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,)."""
        x, a = _cloud(q, self.samples, self.weights)
        y, b = _cloud(p, self.samples, self.weights)
        cost = (x[:, :, None] - y[:, None]).square().sum(-1) / 2
        return torch.stack([ot.emd2(*problem) for problem in zip(a, b, cost, strict=True)])


def _checked(samples: int, weights: str) -> tuple[int, str]:
    if samples < 1:
        raise OptionError(f"optimal transport needs at least one sample, not {samples}")
    if weights not in _WEIGHTS:
        raise OptionError(
            f"no weights are called {weights!r}{did_you_mean(weights, _WEIGHTS)}; "
            f"known: {', '.join(_WEIGHTS)}"
        )
    return samples, weights


def _cloud(density: Distribution, samples: int, weights: str) -> tuple[Tensor, Tensor]:
    """Return n points (B, n, L) of a density and their weights (B, n), which sum to one."""
    z = density.rsample((samples,))
    if weights == "density":
        mass = density.log_prob(z).softmax(0)
    else:
        mass = z.new_full(z.shape[:-1], 1 / samples)
    return z.transpose(0, 1).contiguous(), mass.transpose(0, 1).contiguous()
