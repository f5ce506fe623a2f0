"""A prior of latents at several scales, and the samples that it gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn

from probseg.interfaces import Pyramid
from probseg.models.base import ProbabilisticModel, checked_count
from probseg.models.hierarchical_decoder import TopDown
from probseg.models.hierarchical_sampling import Sampled
from probseg.models.tiling import assembled, sample_tiles
from probseg.utils.contexts import kept_buffers
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, padded


class HierarchicalPrior(ProbabilisticModel):
    r"""A model with a prior of latents at several scales, each given the coarser ones.

    .. math:: p(z | x) = \prod_s p(z_s | z_{<s}, x)

    A subclass has the networks and defines :meth:`loss`. A latent has c numbers at each position of
    one of the coarsest levels of a pyramid; scale 0 is the coarsest.

    Args:
        spec: Plain data such that ``build(**spec)`` gives the same architecture.
        pyramid: Turns the image into features of several levels.
        decoder: Goes up to full resolution, with the latents.
        logits: (B, F, H, W) to (B, K, H, W).
    """

    prior_can_be_scaled = True

    def __init__(
        self, spec: dict[str, Any], *, pyramid: Pyramid, decoder: TopDown, logits: nn.Module
    ) -> None:
        super().__init__(spec)
        self.pyramid, self.decoder, self.logits = pyramid, decoder, logits
        self.stride: int = pyramid.stride

    @torch.no_grad()
    def sample(
        self,
        image: Tensor,
        n: int,
        *,
        generator: Generator | None = None,
        stratified: bool = False,
        tile: int | None = None,
    ) -> Tensor:
        """Return probabilities (n, B, K, H, W) decoded from samples of the base priors.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            n: Samples of each image.
            generator: Makes the samples reproducible.
            stratified: Draw the latents such that the n samples share out their densities, see
                :meth:`probseg.models.prior.PriorModel.sample`.
            tile: Not None is refused: the latents are maps of the whole image.
        """
        image = self._image(image, values=tile is None)
        if tile is not None:
            tiles = sample_tiles(self, image, n, tile=tile, generator=generator)
            return assembled(tiles, (image.shape[2], image.shape[3]))
        count = checked_count(n)
        with kept_buffers(self), self._networks_seeded(generator, image):
            decoded = Sampled(self.decoder, self.pyramid(padded(image, self.stride)))
            with seeded(generator, image.device):
                noise = decoded.draw(count, stratified=stratified)
            noise = noise * self.calibration.prior_scale
            parts = (cropped(self.logits(decoded(some)), image) for some in decoded.split(noise))
            drawn = torch.cat([self.calibration.probabilities(logits) for logits in parts])
        return drawn.view(count, len(image), *drawn.shape[1:])
