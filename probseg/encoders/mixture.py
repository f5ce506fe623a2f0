"""A mixture of experts as a latent density (Gao et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal
from torch.nn import functional

from probseg.encoders.axis_aligned import AxisAligned
from probseg.options import check_integer
from probseg.utils.tensors import in_single_precision


class ReparameterisedMixture(MixtureSameFamily):
    """A mixture whose samples have gradients, also in its weights.

    The choice of a component is exact; its gradient is that of the straight-through
    Gumbel-softmax, which is biased.

    References:
        Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017.
    """

    has_rsample = True

    def rsample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        """Return samples (*s, B, L)."""
        each = self.component_distribution.rsample(torch.Size(sample_shape))  # (*s, B, G, L)
        logits = self.mixture_distribution.logits.expand(each.shape[:-1])
        chosen = functional.gumbel_softmax(logits, hard=True)
        return (chosen[..., None] * each).sum(-2)


class Mixture(AxisAligned):
    """Encodes to a mixture of Normals with diagonal covariances, the experts.

    An expert's weight depends on the image. ``energy`` draws as many samples of each expert and
    gives them its weight; others sample the mixture.

    Args:
        in_channels: C of the prior's encoder, C + K of the posterior's.
        latent_dim: L.
        experts: G.
        channels: Widths of the levels.
        convolutions: 3x3 convolutions a level.
        norm: ``None``, ``"batch"``, ``"group"`` or ``"instance"``.
        log_scale_bound: Largest absolute value of log sigma.

    Raises:
        OptionError: No expert or level, an unknown normalisation or a bound that is not positive.

    References:
        Gao et al., "Modeling Multimodal Aleatoric Uncertainty in Segmentation with Mixture of
        Stochastic Experts", ICLR 2023.
    """

    def __init__(
        self,
        in_channels: int,
        latent_dim: int,
        *,
        experts: int = 4,
        channels: Sequence[int] = (32, 64, 128, 192),
        convolutions: int = 3,
        norm: str | None = None,
        log_scale_bound: float = 5.0,
    ) -> None:
        numbers = check_integer("experts", experts) * latent_dim
        super().__init__(
            in_channels,
            numbers,
            channels=channels,
            convolutions=convolutions,
            norm=norm,
            log_scale_bound=log_scale_bound,
        )
        self.experts, self.shape = experts, (experts, latent_dim)
        self.weights = nn.Linear(self.context_features, experts)

    def density(self, context: Tensor) -> tuple[Distribution, Tensor]:
        """Return the mixture that a context (B, c) gives, and the context."""
        normals, _ = super().density(context)
        mean, scale = (one.unflatten(-1, self.shape) for one in (normals.mean, normals.stddev))
        each = Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
        with torch.autocast(context.device.type, enabled=False):
            logits = in_single_precision(self.weights(context))
        weights = Categorical(logits=logits, validate_args=False)
        return ReparameterisedMixture(weights, each, validate_args=False), context
