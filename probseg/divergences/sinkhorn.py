"""The Sinkhorn divergence between samples (GeomLoss)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from probseg.divergences.clouds import checked, cloud
from probseg.divergences.geomloss import geomloss, samples_loss
from probseg.divergences.stacked import stacked, temperatures
from probseg.errors import OptionError
from probseg.options import did_you_mean

_SOLVERS = ("auto", "geomloss", "stacked")


class Sinkhorn:
    r"""The Sinkhorn divergence, eq. (11), between samples of q and p, one number per image.

    .. math:: S_\epsilon(q, p) = W_\epsilon(q, p) - \tfrac12 (W_\epsilon(q, q) + W_\epsilon(p, p))

    with the cost :math:`\|x - y\|^2 / 2` for the default ``p=2``. Between n samples each of one
    and the same density it is above zero, and more so the wider the density is.

    Args:
        samples: N_OT.
        p: Exponent of the cost, 1 or 2.
        blur: Square root (for p = 2) of the final temperature.
        scaling: Ratio of successive scales of the annealing; nearer to 1 is slower and finer.
        diameter: First scale of the annealing, in latent units.
        weights: ``"uniform"``, or ``"density"`` for samples weighed by their normalised density.
        solver: ``"geomloss"``, or ``"stacked"``, which goes through the same iterations in a
            few large operations and is several times faster for few samples; ``"auto"`` takes
            GeomLoss on a CPU and the other one on a GPU, where GeomLoss's launches would double
            the time of a training step.

    Raises:
        OptionError: No sample, unknown weights or solver, or a scale out of range.

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
        solver: str = "auto",
    ) -> None:
        self.samples, self.weights = checked(samples, weights)
        scales = {"blur": blur, "scaling": scaling, "diameter": diameter}
        _check(solver, p, **scales)
        self.solver = solver
        self._stacked = partial(stacked, p=p, annealing=temperatures(p, **scales))
        self._geomloss = partial(geomloss, p=p, blur=blur, scaling=scaling, diameter=diameter)
        if solver != "stacked":
            samples_loss()  # imported when the model is built, not in its first step

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,)."""
        x, a = cloud(q, self.samples, self.weights)
        y, b = cloud(p, self.samples, self.weights)
        # GeomLoss leaves autograd switched on, whatever it was before
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            divergence: Tensor = self._solver(x.device)(a, x, b, y)
        return divergence

    def _solver(self, device: torch.device) -> Callable[..., Tensor]:
        on_gpu = self.solver == "auto" and device.type != "cpu"
        return self._stacked if on_gpu or self.solver == "stacked" else self._geomloss


def _check(solver: str, p: int, *, blur: float, scaling: float, diameter: float) -> None:
    if solver not in _SOLVERS:
        raise OptionError(
            f"no solver is called {solver!r}{did_you_mean(solver, _SOLVERS)}; "
            f"known: {', '.join(_SOLVERS)}"
        )
    if p not in (1, 2):
        raise OptionError(f"the exponent of the cost is 1 or 2, not p={p}")
    for name, scale in {"blur": blur, "diameter": diameter}.items():
        if not 0 < scale < math.inf:
            raise OptionError(f"{name} must be positive and finite, not {scale}")
    if not 0 < scaling < 1:
        raise OptionError(f"scaling must be between 0 and 1, not {scaling}")
