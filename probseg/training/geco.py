"""A weight of the reconstruction that is chosen while training, from how good it is to be."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from probseg.errors import OptionError

RECONSTRUCTION = "cross_entropy"  # the term of the loss
_LARGEST = 1e4  # multiplier; the smallest is its inverse


class Geco(nn.Module):
    r"""The multiplier :math:`\lambda` of a reconstruction that is to cost :math:`\kappa` a pixel.

    .. math:: \min_\theta \max_\lambda\; \lambda\,(L - \kappa) + \text{penalties}

    After step t, whose reconstruction cost :math:`L_t` nats a pixel,

    .. math::
        C_t &= \min(L_t / \kappa - 1,\; 1) \\
        \bar C_t &= \alpha\, \bar C_{t-1} + (1 - \alpha)\, C_t, \quad \bar C_0 = C_0 \\
        \lambda_{t+1} &= \lambda_t \exp(\eta\, \bar C_t), \quad \lambda_0 = 1

    and :math:`\lambda` stays within [1e-4, 1e4]. It grows while the reconstruction is worse than
    :math:`\kappa` and shrinks while it is better, so at rest :math:`L = \kappa`. The first step is
    that of the plain loss.

    This is Algorithm 1 of Rezende and Viola. The exponential keeps the multiplier positive and
    moves it by a factor, as far up as down. Kohl et al. leave a multiplier softplus(u)² to Adam,
    where its speed is that of the learning rate: too slow for less than 100,000 steps. Here the
    constraint is in units of :math:`\kappa` and at most 1, so that one :math:`\eta` serves sums and
    means over pixels, images of any size and any :math:`\kappa`, and a network that has learned
    nothing yet does not drive the multiplier to its bound.

    The state is in buffers, and nothing waits for their device.

    Args:
        kappa: Nats a pixel that counts, :math:`\kappa`.
        rate: :math:`\eta`; a step changes the multiplier by this share at most.
        decay: Of the moving average, :math:`\alpha`.

    References:
        Rezende and Viola, "Taming VAEs", 2018. Kohl et al., "A Hierarchical Probabilistic U-Net for
        Modeling Multi-Scale Ambiguities", 2019: κ = 0.05, α = 0.99, η = 0.01.
    """

    log_multiplier: Tensor
    constraint: Tensor

    def __init__(self, kappa: float, *, rate: float = 0.01, decay: float = 0.99) -> None:
        super().__init__()
        self.kappa, self.rate, self.decay = kappa, rate, decay
        self.register_buffer("log_multiplier", torch.zeros(()))
        self.register_buffer("constraint", torch.zeros(()))  # its moving average

    @property
    def multiplier(self) -> Tensor:
        """What the reconstruction is multiplied by, a scalar."""
        return self.log_multiplier.exp()

    @torch.no_grad()
    def update(self, step: int, reconstruction: Tensor) -> Tensor:
        """Move the multiplier after a step, counted from 0.

        Args:
            step: The step.
            reconstruction: What it cost in the step's batch, a scalar, nats a pixel.

        Returns:
            The constraint's moving average, a scalar: 0.1 is a reconstruction 10 % above kappa.
        """
        now = (reconstruction.float() / self.kappa - 1).clamp(max=1)
        average = now if step == 0 else self.decay * self.constraint + (1 - self.decay) * now
        bound = math.log(_LARGEST)
        self.log_multiplier.add_(self.rate * average).clamp_(-bound, bound)
        self.constraint.copy_(average)
        return average


def check_reconstruction(model: Any) -> None:
    """Check that a model says over how many pixels its cross-entropy is summed.

    Raises:
        OptionError: It does not.
    """
    if not callable(getattr(getattr(model, RECONSTRUCTION, None), "pixels", None)):
        raise OptionError(
            f"geco chooses the weight of a loss's term {RECONSTRUCTION!r}, and "
            f"{type(model).__name__} does not say over how many pixels it has one; train it "
            "without geco, or a model whose loss is a cross-entropy and penalties, such as 'punet' "
            "or 'csae'. If the model is your own and has that term, make it by "
            "self.cross_entropy = CrossEntropy(reduction), of probseg.models.cross_entropy"
        )
