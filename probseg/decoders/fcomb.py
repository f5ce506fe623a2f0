"""The decoder of the Probabilistic U-Net (Kohl et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from probseg.backbones.blocks import he_initialised, set_class_prior
from probseg.decoders.tiles import TiledLogits, tiled_logits
from probseg.options import check_integer
from probseg.utils.tensors import in_single_precision

# Bytes of one layer's activations for the samples that a GPU decodes at once.
AT_ONCE = 64 << 20


class FComb(nn.Module):
    r"""Combines features and a latent sample pixel by pixel through 1x1 convolutions.

    The first convolution of the concatenation (features, z) is split,
    :math:`W[f; z] + b = W_f f + (W_z z + b)`: the part of the features is computed once for all
    samples, and z is never tiled over the image.

    Args:
        in_channels: F of the features.
        latent_dim: L.
        classes: K.
        features: Width of the hidden convolutions.
        layers: Hidden 1x1 convolutions with ReLU, before the one that gives the logits.
        class_prior: K frequencies whose logarithm is the initial bias of the logits; a training
            set of small structures starts much better from it.

    Raises:
        OptionError: No layer, or frequencies that are not K positive numbers.
    """

    def __init__(
        self,
        in_channels: int,
        latent_dim: int,
        classes: int,
        *,
        features: int = 32,
        layers: int = 3,
        class_prior: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_integer("layers", layers)
        self.from_features = he_initialised(nn.Conv2d(in_channels, features, 1))
        self.from_latent = nn.Linear(latent_dim, features, bias=False)
        nn.init.kaiming_normal_(self.from_latent.weight, nonlinearity="relu")
        hidden = (he_initialised(nn.Conv2d(features, features, 1)) for _ in range(layers - 1))
        self.hidden = nn.ModuleList(hidden)
        self.logits = he_initialised(nn.Conv2d(features, classes, 1))
        if class_prior is not None:
            set_class_prior(self.logits, class_prior)

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        """Return logits (..., B, K, H, W) of features (B, F, H, W) and latent (..., B, L)."""
        shifts = self.from_latent(latent.to(self.from_latent.weight.dtype))
        if latent.ndim == 2:
            return self._logits(self.from_features(features), shifts)
        samples = shifts.flatten(0, -3)
        if features.device.type != "cpu" or _in_bfloat16_with_gradients():
            shared = self.from_features(features)
            many = 1 if features.device.type == "cpu" else max(1, AT_ONCE // shared.nbytes)
            logits = torch.cat([self._logits(shared, some) for some in samples.split(many)])
        else:
            logits = self._tiled(in_single_precision(features), samples)
        return logits.view(*latent.shape[:-2], *logits.shape[1:])

    def _tiled(self, features: Tensor, shifts: Tensor) -> Tensor:
        layers: list[nn.Conv2d] = [self.from_features, *self.hidden, self.logits]
        weights = [layer.weight.flatten(1) for layer in layers]
        biases = [layer.bias for layer in layers if layer.bias is not None]  # all have one
        if torch.is_grad_enabled():
            logits: Tensor = TiledLogits.apply(features, shifts, *weights, *biases)
            return logits
        return tiled_logits(features, shifts, weights, biases)

    def _logits(self, shared: Tensor, shifts: Tensor) -> Tensor:
        """Return logits (..., B, K, H, W) of x (B, F, H, W) and shifts (..., B, F)."""
        combined = functional.relu(shared + shifts[..., None, None].to(shared.dtype))
        combined = combined.flatten(0, -4)
        for layer in self.hidden:
            combined = functional.relu(layer(combined))
        logits: Tensor = self.logits(combined)
        return logits.view(*shifts.shape[:-1], *logits.shape[1:])


def _in_bfloat16_with_gradients() -> bool:
    return torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
