"""A Probabilistic U-Net as public implementations write it: what a user would copy."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional

WIDTHS = (32, 64, 128, 192)
CLASSES, LATENT_DIM = 2, 6  # K, L
BETA = 10.0  # weight of the KL divergence


class TextbookPUNet(nn.Module):
    """The paper's network in fp32 and NCHW; the latent is tiled over the image and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise((1, *WIDTHS)))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairwise(WIDTHS[::-1]))
        self.prior = Encoder(1)
        self.posterior = Encoder(1 + CLASSES)
        self.first = nn.Conv2d(WIDTHS[0] + LATENT_DIM, 32, 1)
        self.hidden = nn.ModuleList(nn.Conv2d(32, 32, 1) for _ in range(2))
        self.last = nn.Conv2d(32, CLASSES, 1)

    def features(self, image: Tensor) -> Tensor:
        """Return the U-Net's features (B, F, H, W)."""
        skips = []
        for level, block in enumerate(self.down):
            image = block(functional.avg_pool2d(image, 2) if level else image)
            skips.append(image)
        for skip, block in zip(skips[-2::-1], self.up, strict=True):
            image = functional.interpolate(image, scale_factor=2, mode="bilinear")
            image = block(torch.cat([skip, image], dim=1))
        return image

    def decode(self, features: Tensor, z: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of one latent sample (B, L) each."""
        tiled = z[:, :, None, None].expand(-1, -1, *features.shape[2:])
        x = functional.relu(self.first(torch.cat([features, tiled], dim=1)))
        for layer in self.hidden:
            x = functional.relu(layer(x))
        logits: Tensor = self.last(x)
        return logits

    def loss(self, image: Tensor, label: Tensor) -> Tensor:
        """Return the negative evidence lower bound, summed over pixels, averaged over images."""
        one_hot = functional.one_hot(label, CLASSES).movedim(-1, 1).to(image.dtype) - 0.5
        q, p = self.posterior(torch.cat([image, one_hot], dim=1)), self.prior(image)
        logits = self.decode(self.features(image), q.rsample())
        entropy = functional.cross_entropy(logits, label, reduction="sum") / len(image)
        return entropy + BETA * kl_divergence(q, p).mean()

    @torch.no_grad()
    def sample(self, image: Tensor, n: int) -> Tensor:
        """Return probabilities (n, B, K, H, W), one pass of the decoder a sample."""
        features, prior = self.features(image), self.prior(image)
        return torch.stack([self.decode(features, prior.sample()).softmax(1) for _ in range(n)])


class Encoder(nn.Module):
    """An axis-aligned Normal from the mean of a convolutional network's features."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(a, b) for a, b in pairwise((in_channels, *WIDTHS)))
        self.head = nn.Linear(WIDTHS[-1], 2 * LATENT_DIM)

    def forward(self, image: Tensor) -> Distribution:
        """Return a density with batch (B,) and event (L,) of an image (B, C, H, W)."""
        for level, block in enumerate(self.blocks):
            image = block(functional.avg_pool2d(image, 2) if level else image)
        mean, log_scale = self.head(image.mean(dim=(2, 3))).chunk(2, dim=1)
        return Independent(Normal(mean, log_scale.exp()), 1)


def copy_weights(model: nn.Module, textbook: TextbookPUNet) -> None:
    """Give the textbook's network the weights of a probseg ``punet`` of the same widths."""
    weights = model.state_dict()
    features = weights.pop("decoder.from_features.weight")
    latent = weights.pop("decoder.from_latent.weight")[:, :, None, None]
    copied = {"first.weight": torch.cat([features, latent], dim=1)}
    for name, weight in weights.items():
        prefix = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
        copied[_PREFIXES[prefix] + name.removeprefix(prefix)] = weight
    textbook.load_state_dict(copied)


_PREFIXES = {  # of a probseg model's weights to the textbook's
    "backbone.": "",
    "prior_encoder.": "prior.",
    "posterior_encoder.": "posterior.",
    "decoder.from_features.": "first.",
    "decoder.hidden.": "hidden.",
    "decoder.logits.": "last.",
}


def _block(before: int, after: int) -> nn.Sequential:
    widths = (before, after, after, after)
    layers = [
        layer
        for a, b in pairwise(widths)
        for layer in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True))
    ]
    return nn.Sequential(*layers)
