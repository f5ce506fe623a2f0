"""The decoder of the Probabilistic U-Net (Kohl et al., 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from probseg.backbones.blocks import he_initialised, set_class_prior
from probseg.options import check_integer
from probseg.utils.tensors import in_single_precision

# Bytes of one layer's activations for the samples that a GPU decodes at once.
AT_ONCE = 64 << 20
# Pixels and samples of a tile on the CPU, which stays in the processor's cache: with 32 features,
# 2 MiB in float32.
PIXELS, SAMPLES = 4096, 4


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
        if torch.is_grad_enabled() or features.device.type != "cpu":
            shared = self.from_features(features)
            many = 1 if features.device.type == "cpu" else max(1, AT_ONCE // shared.nbytes)
            logits = torch.cat([self._logits(shared, some) for some in samples.split(many)])
        else:
            precise = in_single_precision(features)
            logits = tiled_logits(precise, self.from_features, samples, [*self.hidden, self.logits])
        return logits.view(*latent.shape[:-2], *logits.shape[1:])

    def _logits(self, shared: Tensor, shifts: Tensor) -> Tensor:
        """Return logits (..., B, K, H, W) of x (B, F, H, W) and shifts (..., B, F)."""
        combined = functional.relu(shared + shifts[..., None, None].to(shared.dtype))
        combined = combined.flatten(0, -4)
        for layer in self.hidden:
            combined = functional.relu(layer(combined))
        logits: Tensor = self.logits(combined)
        return logits.view(*shifts.shape[:-1], *logits.shape[1:])


@torch.no_grad()
def tiled_logits(
    features: Tensor, first: nn.Conv2d, shifts: Tensor, layers: Sequence[nn.Conv2d]
) -> Tensor:
    r"""Return the logits of 1x1 convolutions on :math:`\mathrm{relu}(x + s)` for many shifts s.

    As :math:`\mathrm{relu}(x + s) = \max(x, -s) + s`, and a shift passes through a convolution as
    another shift, each layer is one matrix product and one maximum per tile, in place.

    Args:
        features: (B, F, H, W).
        first: The 1x1 convolution that gives x, which all samples share.
        shifts: s, one of each sample, (n, B, F').
        layers: 1x1 convolutions; a ReLU stands before each.

    Returns:
        (n, B, K, H, W), of the type of ``features``.
    """
    pixels = features.flatten(2)
    weights = [layer.weight.flatten(1).to(pixels) for layer in (first, *layers)]
    *passing, last = _shifts(shifts.to(pixels), weights, (first, *layers))
    floors = [-shift for shift in passing]
    logits = pixels.new_empty(*shifts.shape[:2], len(weights[-1]), pixels.shape[2])
    buffers = pixels.new_empty(2, PIXELS * SAMPLES * shifts.shape[2])
    with torch.autocast(pixels.device.type, enabled=False):
        for image, tile in product(range(len(pixels)), _slices(pixels.shape[2], PIXELS)):
            x = weights[0] @ pixels[image, :, tile]
            for some in _slices(len(shifts), SAMPLES):
                here = [floor[some, image, :, None] for floor in floors]
                raw = _run(x, here, weights[1:], buffers)
                torch.add(raw, last[some, image, :, None], out=logits[some, image, :, tile])
    return logits.view(*logits.shape[:3], *features.shape[2:])


def _shifts(shift: Tensor, weights: list[Tensor], layers: Sequence[nn.Conv2d]) -> list[Tensor]:
    """Return the shift (n, B, F) before each ReLU, and that of the logits."""
    biases = [torch.zeros(()) if layer.bias is None else layer.bias for layer in layers]
    shifts = [shift + biases[0].to(shift)]
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        shifts.append(shifts[-1] @ weight.T + bias.to(shift))
    return shifts


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _run(x: Tensor, floors: list[Tensor], weights: list[Tensor], buffers: Tensor) -> Tensor:
    """Return the last product (n, K, P) of x (F, P) and one floor (n, F, 1) a layer."""
    target, other = buffers
    for floor, weight in zip(floors, weights, strict=True):
        samples, count = len(floor), x.shape[-1]
        raised = torch.maximum(x, floor, out=_view(target, (*floor.shape[:2], count)))
        x = _view(other, (samples, len(weight), count))
        torch.bmm(weight.expand(samples, -1, -1), raised, out=x)
        target, other = other, target
    return x


def _view(buffer: Tensor, shape: tuple[int, int, int]) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)
