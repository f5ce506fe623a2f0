"""Many samples of a pixel-wise network on a CPU, in tiles that stay in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

# 4 samples of 4096 pixels and 32 features are 2 MiB in float32.
PIXELS, SAMPLES = 4096, 4


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
