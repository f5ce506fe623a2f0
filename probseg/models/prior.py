"""A model that decodes samples of a prior density p(z | x)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.distributions import Distribution

from probseg.errors import InputError
from probseg.interfaces import Backbone, Decoder, LatentEncoder
from probseg.models.base import ProbabilisticModel, checked_count
from probseg.models.stratified import stratified_sample
from probseg.models.tiling import assembled, encode_in_tiles, sample_tiles
from probseg.utils.contexts import kept_buffers, normalisation_errors
from probseg.utils.model_inputs import checked_latent
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, padded


class PriorModel(ProbabilisticModel):
    r"""A conditional latent-variable model of segmentations, p(y | x) = E_{z ~ p(z|x)} p(y | z, x).

    A subclass has the networks and defines :meth:`loss`. Every method takes images (B, C, H, W) of
    any H and W, and raises an ``InputError`` for others.

    Args:
        spec: Plain data such that ``build(**spec)`` gives the same architecture.
    """

    backbone: Backbone
    prior_encoder: LatentEncoder
    decoder: Decoder
    prior_can_be_scaled = True

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        self.latent_dim: int = spec["latent_dim"]

    @torch.no_grad()
    def sample(
        self,
        image: Tensor,
        n: int,
        *,
        generator: Generator | None = None,
        projected: bool = False,
        stratified: bool = False,
        tile: int | None = None,
    ) -> Tensor:
        """Return probabilities (n, B, K, H, W) decoded from samples of the prior.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            n: Samples of each image.
            generator: Makes the samples reproducible.
            projected: Sample the projected prior in place of the base prior.
            stratified: Draw the n latents such that they share out the density
                (:func:`probseg.models.stratified.stratified_normal`). Each sample alone is
                distributed as otherwise; together they stand for the density better than
                independent ones do.
            tile: Edge in pixels of the parts that go through the networks one after another, for
                an image that does not fit; see :func:`probseg.models.tiling.sample_tiles`, which
                does not hold the samples of the whole image either.

        Raises:
            InputError: The projected prior is asked for where its flow reads the posterior's
                context; a density has no stratified samples; or a part of an image is not what the
                whole image has there.
        """
        drawn = {"projected": projected, "stratified": stratified}
        image = self._image(image, values=tile is None)
        if tile is not None:
            tiles = sample_tiles(self, image, n, tile=tile, generator=generator, **drawn)
            return assembled(tiles, (image.shape[2], image.shape[3]))
        count = checked_count(n)
        with kept_buffers(self), self._networks_seeded(generator, image):
            x = padded(image, self.backbone.stride)
            prior = self._sampled(*self.prior_encoder(x), projected=projected)
            features = self.backbone(x)
            with seeded(generator, image.device):
                latent = draw_latents(prior, count, stratified=stratified)
            return self.calibration.probabilities(cropped(self.decoder(features, latent), image))

    def tile_decoder(
        self,
        image: Tensor,
        n: int,
        *,
        tile: int,
        generator: Generator | None,
        projected: bool = False,
        stratified: bool = False,
    ) -> tuple[Tensor, Callable[[Tensor, int], Tensor]]:
        """Return the checked image, and the decoder of n latents drawn for the whole of it."""
        self._check_evaluating()
        count = checked_count(n)
        image = self._image(image, values=True)
        with self._networks_seeded(generator, image):
            whole = padded(image, self.backbone.stride)
            encoded = encode_in_tiles(self.prior_encoder, whole, tile)
            prior = self._sampled(*encoded, projected=projected)
            with seeded(generator, image.device):
                latent = draw_latents(prior, count, stratified=stratified)
        return image, lambda features, samples: self.decoder(features, latent[:samples])

    @torch.no_grad()
    def decode(self, image: Tensor, latent: Tensor) -> Tensor:
        """Return probabilities (..., B, K, H, W) decoded from given latents (..., B, L).

        Raises:
            InputError: The latents are not L finite numbers for each image, or lie on another
                device.
        """
        image = self._image(image, values=True)
        latent = checked_latent(latent, image, self.latent_dim)
        x = padded(image, self.backbone.stride)
        with kept_buffers(self), normalisation_errors():
            logits = cropped(self.decoder(self.backbone(x), latent), image)
            return self.calibration.probabilities(logits)

    def prior(self, image: Tensor) -> Distribution:
        """Return the base prior p(z | x), batch (B,) and event (L,), of an image (B, C, H, W).

        It is the learnt one; samples are drawn with the scale of the :attr:`calibration`.
        """
        image = self._image(image, values=True)
        with kept_buffers(self), normalisation_errors():
            density: Distribution = self.prior_encoder(padded(image, self.backbone.stride))[0]
        return density

    def sampled_density(self, image: Tensor, *, projected: bool) -> Distribution:
        """Return what :meth:`sample` draws latents from, given an image whose sides fit already.

        Raises:
            InputError: The projected prior is asked for where its flow reads the posterior's
                context.
        """
        with kept_buffers(self), normalisation_errors():
            return self._sampled(*self.prior_encoder(image), projected=projected)

    def _sampled(self, prior: Distribution, context: Tensor, *, projected: bool) -> Distribution:
        scaled = self.calibration.scaled(prior)
        return self._project(scaled, context) if projected else scaled

    def _project(self, prior: Distribution, context: Tensor) -> Distribution:
        """Return the projected prior.

        Raises:
            InputError: The model has none.
        """
        raise InputError(f"{self.spec['name']!r} projects no density; leave projected out")


def draw_latents(density: Distribution, n: int, *, stratified: bool) -> Tensor:
    """Return n latents (n, B, L), independent or stratified."""
    return stratified_sample(density, n) if stratified else sample_density(density, (n,))


def sample_density(density: Distribution, shape: tuple[int, ...] = ()) -> Tensor:
    """Return samples, reparameterised if the density can: torch.normal would wait for a GPU."""
    size = torch.Size(shape)
    return density.rsample(size) if density.has_rsample else density.sample(size)
