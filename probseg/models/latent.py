"""The one latent-variable model: PU-Net, 2p-planar and the cSAE differ in their parts only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution

from probseg.errors import InputError
from probseg.interfaces import Backbone, Decoder, Divergence, LatentEncoder, Projector
from probseg.models.cross_entropy import CrossEntropy
from probseg.models.prior import PriorModel, sample_density
from probseg.projectors.flow import Identity
from probseg.utils.contexts import kept_buffers, normalisation_errors
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, one_hot, padded, probabilities

Space = Literal["base", "projected"]
FlowContext = Literal["image", "own", "posterior"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The networks of a latent-variable model."""

    backbone: Backbone
    prior: LatentEncoder  # sees the image
    posterior: LatentEncoder  # sees the image and the one-hot label
    decoder: Decoder
    prior_projector: Projector
    posterior_projector: Projector


@dataclass(frozen=True)
class Penalty:
    """A weighted divergence between the posterior and the prior, on one of two spaces."""

    divergence: Divergence
    weight: float
    on: Space


class DensityPair(NamedTuple):
    """Posterior and prior on one space."""

    q: Distribution
    p: Distribution


class LatentVariableModel(PriorModel):
    r"""A model of a prior p(z | x) that learns with a posterior q(z | x, y).

    .. math:: L = -\log p(y | \hat z, x) + \sum_i w_i D_i(q, p), \quad \hat z \sim \hat q

    Training decodes a sample of the projected posterior, eq. (12) of docs/method.md; sampling
    decodes the base prior and needs no projector. Every method takes images (B, C, H, W) of any H
    and W and labels (B, H, W) of integer classes, and raises an ``InputError`` for others. A label
    may be soft as well, floating probabilities (B, K, H, W). Pixels of the label that are
    ``ignore_index`` count for nothing, and the posterior sees no class there.

    Args:
        parts: The networks.
        penalties: Name of the loss term to what it penalises.
        flow_context: Whose context conditions the projectors: that of the ``"image"`` (the
            prior's) for both, each its ``"own"``, or the ``"posterior"``'s for both.
        spec: Plain data such that ``build(**spec)`` gives the same architecture.
    """

    soft_labels = True

    def __init__(
        self,
        parts: Parts,
        penalties: Mapping[str, Penalty],
        *,
        flow_context: FlowContext,
        spec: dict[str, Any],
    ) -> None:
        super().__init__(spec)
        self.cross_entropy = CrossEntropy(spec["reduction"], top_k=spec.get("top_k"))
        self.backbone = parts.backbone
        self.prior_encoder = parts.prior
        self.posterior_encoder = parts.posterior
        self.decoder = parts.decoder
        self.prior_projector = parts.prior_projector
        self.posterior_projector = parts.posterior_projector
        self.penalties = dict(penalties)
        self.flow_context = flow_context
        # registers the parameters of a divergence that learns
        self.divergences = nn.ModuleDict(
            {n: p.divergence for n, p in penalties.items() if isinstance(p.divergence, nn.Module)}
        )

    def loss(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted terms of the training objective, eq. (12) of docs/method.md.

        Their sum is minimised. They are ``"cross_entropy"`` and one scalar for each penalty,
        multiplied by its weight.
        """
        image = self._image(image, values=False)
        label = self._label(label, image, values=False, ignore_index=ignore_index)
        with self._networks_seeded(generator, image):
            x, y = self._padded(image, label)
            base, projected = self._densities(x, y)
            features = self.backbone(x)
            with seeded(generator, image.device):
                latent = projected.q.rsample()
            logits = self.decoder(features, latent)
            with seeded(generator if self.cross_entropy.draws else None, image.device):
                terms = {"cross_entropy": self.cross_entropy(cropped(logits, image), label)}
            with seeded(generator, image.device):
                return terms | self._penalties(base, projected)

    @torch.no_grad()
    def reconstruct(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Return probabilities (B, K, H, W) decoded from a sample of the projected posterior."""
        image = self._image(image, values=True)
        label = self._label(label, image, values=True, ignore_index=ignore_index)
        with kept_buffers(self), self._networks_seeded(generator, image):
            x, y = self._padded(image, label)
            posterior = self._densities(x, y)[1].q
            with seeded(generator, image.device):
                latent = sample_density(posterior)
            return probabilities(cropped(self.decoder(self.backbone(x), latent), image))

    def posterior(
        self, image: Tensor, label: Tensor, *, ignore_index: int | None = None
    ) -> Distribution:
        """Return the base posterior q(z | x, y), batch (B,) and event (L,)."""
        return self.densities(image, label, ignore_index=ignore_index)[0].q

    def densities(
        self, image: Tensor, label: Tensor, *, ignore_index: int | None = None
    ) -> tuple[DensityPair, DensityPair]:
        """Return posterior and prior on the base space, and on the projected one."""
        image = self._image(image, values=True)
        label = self._label(label, image, values=True, ignore_index=ignore_index)
        with kept_buffers(self), normalisation_errors():
            return self._densities(*self._padded(image, label))

    def _densities(self, image: Tensor, one_hot: Tensor) -> tuple[DensityPair, DensityPair]:
        q, posterior = self.posterior_encoder(torch.cat([image, one_hot], dim=1))
        p, prior = self.prior_encoder(image)
        contexts = {
            "image": (prior, prior),
            "own": (posterior, prior),
            "posterior": (posterior, posterior),
        }
        context_q, context_p = contexts[self.flow_context]
        projected_q = self.posterior_projector(q, context_q)
        return DensityPair(q, p), DensityPair(projected_q, self.prior_projector(p, context_p))

    def _project(self, prior: Distribution, context: Tensor) -> Distribution:
        if self.flow_context == "posterior" and not isinstance(self.prior_projector, Identity):
            raise InputError(
                "the projected prior of this model reads the posterior's context, which needs a "
                "label; sample the base prior, or build with flow_context='image'"
            )
        return self.prior_projector(prior, context)

    def _penalties(self, base: DensityPair, projected: DensityPair) -> dict[str, Tensor]:
        spaces = {"base": base, "projected": projected}
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return {
                name: penalty.weight * penalty.divergence(*spaces[penalty.on]).mean()
                for name, penalty in self.penalties.items()
            }

    def _padded(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image and the one-hot label minus one half, padded to the stride."""
        centred = one_hot(label, self.classes).to(image.dtype) - 0.5
        return padded(image, self.backbone.stride), padded(centred, self.backbone.stride)
