"""Samples of a hierarchical prior: what they have in common is computed once an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from probseg.models.hierarchical_decoder import DecoderLevel, TopDown, as_map
from probseg.models.stratified import stratified_normal
from probseg.utils.tensors import in_single_precision

# Bytes of the finest level's activations for the samples that are decoded at once.
AT_ONCE = {"cpu": 16 << 20}
ON_A_GPU = 64 << 20


class Sampled:
    """The decoder as a function of noise, for the features of some images.

    Args:
        decoder: Of the prior.
        features: (B, F_l, H / 2^l, W / 2^l) of each level of the pyramid, the finest first.
    """

    def __init__(self, decoder: TopDown, features: list[Tensor]) -> None:
        self.decoder, self.coarsest = decoder, features[-1]
        # torch types what a ModuleList holds as Module
        self.levels: list[DecoderLevel] = list(decoder.levels)  # type: ignore[arg-type]
        skips = features[-2::-1]
        self.shared = [level.of_skip(skip) for level, skip in zip(self.levels, skips, strict=True)]
        self.shared[0] = self.shared[0] + self.levels[0].of_coarse(self.coarsest)
        positions = [features[-1 - scale][0, 0].numel() for scale in range(decoder.scales)]
        self.sizes = [decoder.latent_channels * count for count in positions]

    def draw(self, n: int, *, stratified: bool = False) -> Tensor:
        """Return standard normal noise (n, B, D), D numbers for the latents of all scales."""
        size = (len(self.coarsest), sum(self.sizes))
        if stratified:
            return stratified_normal(n, size, self.coarsest.device)
        return torch.randn((n, *size), device=self.coarsest.device)

    def split(self, noise: Tensor) -> tuple[Tensor, ...]:
        """Return the noise of samples that are decoded at once, for bounded memory."""
        finest = self.shared[-1]
        limit = AT_ONCE.get(finest.device.type, ON_A_GPU)
        parts: tuple[Tensor, ...] = noise.split(max(1, limit // finest.nbytes))
        return parts

    def __call__(self, noise: Tensor) -> Tensor:
        """Return the decoder's features (n·B, F, H, W) of the samples of noise (n, B, D)."""
        each = noise.split(self.sizes, dim=-1)
        first, *others = self.levels
        latent = _sample(self.decoder.heads[0](self.coarsest), each[0]).flatten(0, 1)
        top = self._finish(0, first.of_latent(as_map(latent, self.coarsest)))
        for index, level in enumerate(others, start=1):
            coarse = top
            if index < self.decoder.scales:
                density = self.decoder.heads[index](top)
                latent = _sample(density, each[index].flatten(0, 1))
                coarse = torch.cat([top, as_map(latent, top).to(top.dtype)], dim=1)
            top = self._finish(index, level.of_coarse(coarse))
        return top

    def _finish(self, index: int, share: Tensor) -> Tensor:
        shared = self.shared[index]
        share.unflatten(0, (-1, len(shared))).add_(shared)
        return self.levels[index].finish(share)


def _sample(density: Distribution, noise: Tensor) -> Tensor:
    """Return what a Normal makes of standard normal noise (..., B, L)."""
    mean = density.mean
    return mean + density.stddev * in_single_precision(noise).to(mean.dtype)
