"""The velocity network of a flow: from a state, its time and the image's features to the end."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from probseg.interfaces import Backbone
from probseg.utils.tensors import cropped, padded
from probseg_flowmatching.base import PixelwiseNormal

_FREQUENCIES = 4


class EndpointNetwork(nn.Module):
    """The logits of where a state will end: those of the base, and a correction.

    Its input is the state, scaled to a size of about one, the base's mean, the image's condition,
    and maps of sines and cosines of the time. The correction starts at zero.

    Args:
        network: From :meth:`width` channels to features.
        classes: K.
        noise: The scale of the base.
    """

    def __init__(self, network: Backbone, *, classes: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.network = network
        self.logits = _zeros(nn.Conv2d(network.out_channels, classes, 1))

    @staticmethod
    def width(classes: int, condition: int) -> int:
        """Return the channels that the network gets."""
        return 2 * classes + condition + 2 * _FREQUENCIES

    def forward(
        self, state: Tensor, time: Tensor, base: PixelwiseNormal, condition: Tensor
    ) -> Tensor:
        """Return logits (B, K, H, W) of states (B, K, H, W) at times (B,)."""
        scale = (time.square() + (self.noise * (1 - time)).square()).rsqrt()
        maps = _waves(time)[:, :, None, None].expand(-1, -1, *state.shape[2:])
        scaled = state * scale[:, None, None, None]
        inputs = torch.cat([scaled, base.mean, condition, maps], dim=1)
        inputs = inputs.to(self.logits.weight.dtype)
        features = self.network(padded(inputs, self.network.stride))
        correction: Tensor = self.logits(cropped(features, state))
        return base.log_probabilities + correction


def _zeros(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _waves(time: Tensor) -> Tensor:
    """Return sines and cosines (B, 2 F) of times (B,), of half a period and its octaves."""
    octaves = torch.arange(_FREQUENCIES, dtype=time.dtype, device=time.device)
    angles = math.pi * time[:, None] * torch.exp2(octaves)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
