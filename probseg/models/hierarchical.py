"""Models with a latent at each of several scales: HPU-Net, and the cSAE of several resolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution

from probseg.errors import InputError
from probseg.interfaces import Divergence, Projector, Pyramid
from probseg.models.cross_entropy import CrossEntropy
from probseg.models.hierarchical_decoder import TopDown, as_map
from probseg.models.hierarchical_prior import HierarchicalPrior
from probseg.models.penalties import DensityPair, Space
from probseg.models.prior import sample_density
from probseg.utils.contexts import kept_buffers
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, in_single_precision, one_hot, padded


@dataclass(frozen=True, kw_only=True)
class HierarchicalParts:
    """The networks of a hierarchical model."""

    prior_pyramid: Pyramid  # sees the image
    posterior_pyramid: Pyramid  # sees the image and the one-hot label
    prior_decoder: TopDown  # to full resolution
    posterior_decoder: TopDown  # to the finest scale that has a latent
    projectors: list[Projector]  # of each scale, for both densities
    logits: nn.Module  # (B, F, H, W) to (B, K, H, W)


@dataclass(frozen=True)
class ScalePenalty:
    """A weighted divergence between posterior and prior of one scale, on one of two spaces."""

    divergence: Divergence
    weight: float
    on: Space
    scale: int


class TopDownPass(NamedTuple):
    """What the decoders give with a posterior sample at each scale, the coarsest first."""

    base: list[DensityPair]
    projected: list[DensityPair]
    features: list[Tensor]
    """Of the prior's pyramid."""
    top: Tensor
    """The features of the prior's decoder after the finest latent."""


class HierarchicalModel(HierarchicalPrior):
    r"""A prior of latents at several scales, each given the coarser ones.

    .. math:: p(z | x) = \prod_s p(z_s | z_{<s}, x), \quad
        L = -\log p(y | \hat z, x) + \sum_s w_s D(q_s, p_s), \quad
        \hat z_s \sim \hat q(z_s | \hat z_{<s}, x, y)

    A latent has c numbers at each position of one of the coarsest levels of a pyramid; scale 0 is
    the coarsest. In training the densities of a scale, those of the prior too, are given the
    posterior's samples of the coarser scales. With projectors these are samples of the projected
    posterior; sampling takes base priors and needs no projector. Every method takes images
    (B, C, H, W) and labels (B, H, W) of integer classes, or soft ones (B, K, H, W), and raises an
    ``InputError`` for others. Pixels of the label that are ``ignore_index`` count for nothing, and
    the posterior sees no class there.

    Args:
        parts: The networks.
        penalties: Name of the loss term to what it penalises.
        image_size: (H, W) of images in training; None for any, without projectors. Images of any
            size are sampled.
        spec: Plain data such that ``build(**spec)`` gives the same architecture.

    References:
        Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities",
        2019, arXiv 1905.13077.
    """

    soft_labels = True

    def __init__(
        self,
        parts: HierarchicalParts,
        penalties: Mapping[str, ScalePenalty],
        *,
        image_size: tuple[int, int] | None,
        spec: dict[str, Any],
    ) -> None:
        super().__init__(
            spec, pyramid=parts.prior_pyramid, decoder=parts.prior_decoder, logits=parts.logits
        )
        self.cross_entropy = CrossEntropy(spec["reduction"], top_k=spec["top_k"])
        self.posterior_pyramid = parts.posterior_pyramid
        self.posterior_decoder = parts.posterior_decoder
        self.projectors: Any = nn.ModuleList(parts.projectors)  # type: ignore[arg-type]  # a protocol
        self.penalties = dict(penalties)
        self.image_size = image_size
        self.stride = math.lcm(self.pyramid.stride, self.posterior_pyramid.stride)
        learnt = {f"{p.on}_{type(p.divergence).__name__}": p.divergence for p in penalties.values()}
        # registers the parameters of a divergence that learns
        self.divergences = nn.ModuleDict(
            {name: one for name, one in learnt.items() if isinstance(one, nn.Module)}
        )

    def loss(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted terms of the training objective, whose sum is minimised.

        They are ``"cross_entropy"`` and scalars such as ``"kl_0"``, one for each penalty of a
        scale, the coarsest being 0, multiplied by its weight.
        """
        image = self._image(image, values=False)
        label = self._label(label, image, values=False, ignore_index=ignore_index)
        self._check_size(image)
        with self._networks_seeded(generator, image):
            passed = self._top_down(image, label, generator)
            logits = self._decoded(passed)
            with seeded(generator, image.device):
                terms = {"cross_entropy": self.cross_entropy(cropped(logits, image), label)}
                return terms | self._penalties(passed)

    @torch.no_grad()
    def reconstruct(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Return probabilities (B, K, H, W) decoded from a sample of the (projected) posterior."""
        image = self._image(image, values=True)
        label = self._label(label, image, values=True, ignore_index=ignore_index)
        self._check_size(image)
        with kept_buffers(self), self._networks_seeded(generator, image):
            passed = self._top_down(image, label, generator)
            return self.calibration.probabilities(cropped(self._decoded(passed), image))

    def latents(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
        projected: bool = False,
    ) -> tuple[DensityPair, ...]:
        """Return posterior and prior of each scale, given a posterior sample of the coarser ones.

        Args:
            image: (B, C, H, W) floating.
            label: (B, H, W) integer classes, or (B, K, H, W) soft.
            generator: Makes the samples of the coarser scales reproducible.
            ignore_index: The label of pixels that nobody labelled.
            projected: Return the projected densities in place of those on the base space.

        Returns:
            A pair for each scale, the coarsest first, of batch (B,) and event (c·h·w,).
        """
        image = self._image(image, values=True)
        label = self._label(label, image, values=True, ignore_index=ignore_index)
        self._check_size(image)
        with kept_buffers(self), self._networks_seeded(generator, image):
            passed = self._top_down(image, label, generator)
        return tuple(passed.projected if projected else passed.base)

    def _top_down(self, image: Tensor, label: Tensor, generator: Generator | None) -> TopDownPass:
        x, y = self._padded(image, label)
        of_image, of_label = self.pyramid(x), self.posterior_pyramid(torch.cat([x, y], dim=1))
        top, top_q = of_image[-1], of_label[-1]
        base, projected = [], []
        for scale in range(self.decoder.scales):
            pair = DensityPair(self.posterior_decoder.heads[scale](top_q), self._prior(scale, top))
            base.append(pair)
            projected.append(self._projected(scale, pair, top))
            with seeded(generator, image.device):
                latent = as_map(sample_density(projected[-1].q), top)
            top = self.decoder.up(scale, of_image, top, latent)
            if scale + 1 < self.decoder.scales:
                top_q = self.posterior_decoder.up(scale, of_label, top_q, latent)
        return TopDownPass(base, projected, of_image, top)

    def _prior(self, scale: int, features: Tensor) -> Distribution:
        density: Distribution = self.decoder.heads[scale](features)
        return density

    def _projected(self, scale: int, pair: DensityPair, features: Tensor) -> DensityPair:
        """Return both densities of a scale, projected given the prior's features, pooled."""
        projector = self.projectors[scale]
        context = in_single_precision(features).mean(dim=(2, 3))
        return DensityPair(projector(pair.q, context), projector(pair.p, context))

    def _decoded(self, passed: TopDownPass) -> Tensor:
        """Return the logits, given the features of the prior's decoder after the finest latent."""
        top = passed.top
        for level in range(self.decoder.scales, len(self.decoder.levels)):
            top = self.decoder.up(level, passed.features, top)
        logits: Tensor = self.logits(top)
        return logits

    def _penalties(self, passed: TopDownPass) -> dict[str, Tensor]:
        spaces = {"base": passed.base, "projected": passed.projected}
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return {
                name: penalty.weight * penalty.divergence(*spaces[penalty.on][penalty.scale]).mean()
                for name, penalty in self.penalties.items()
            }

    def _padded(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image and the one-hot label minus one half, padded to the stride."""
        centred = one_hot(label, self.classes).to(image.dtype) - 0.5
        return padded(image, self.stride), padded(centred, self.stride)

    def _check_size(self, image: Tensor) -> None:
        """Check that an image has as many latents as the projectors take.

        Raises:
            InputError: It has not.
        """
        if self.image_size is None:
            return
        given = (image.shape[-2], image.shape[-1])
        if rounded(given, self.stride) != rounded(self.image_size, self.stride):
            wanted, found = ("{} x {}".format(*size) for size in (self.image_size, given))
            raise InputError(
                f"the projectors of this model are for images of {wanted} pixels, and these have "
                f"{found}: build it with image_size={list(given)}, or crop or resize the images; "
                "images of any size can be sampled"
            )


def rounded(size: Sequence[int], stride: int) -> tuple[int, ...]:
    """Return the sides of images that are padded to a stride."""
    return tuple(-(-side // stride) * stride for side in size)
