"""Many samples of a pixel-wise network on a CPU, in tiles that stay in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

# 4 samples of 4096 pixels and 32 features are 2 MiB in float32.
PIXELS, SAMPLES = 4096, 4


@torch.no_grad()
def tiled_logits(shared: Tensor, shifts: Tensor, layers: Sequence[nn.Conv2d]) -> Tensor:
    r"""Return the logits of 1x1 convolutions on :math:`\mathrm{relu}(x + s)` for many shifts s.

    As :math:`\mathrm{relu}(x + s) = \max(x, -s) + s`, and a shift passes through a convolution as
    another shift, each layer is one matrix product and one maximum per tile, in place.

    Args:
        shared: x, the part that all samples share, (B, F, H, W).
        shifts: s, one of each sample, (n, B, F).
        layers: 1x1 convolutions with bias; a ReLU stands before each.

    Returns:
        (n, B, K, H, W), of the type of ``shared``.
    """
    pixels = shared.flatten(2).contiguous()
    weights = [layer.weight.flatten(1).to(pixels) for layer in layers]
    *passing, last = _shifts(shifts.to(pixels), weights, layers)
    floors = [-shift for shift in passing]
    logits = pixels.new_empty(*shifts.shape[:2], len(weights[-1]), pixels.shape[2])
    buffers = pixels.new_empty(2, PIXELS * SAMPLES * pixels.shape[1])
    with torch.autocast(pixels.device.type, enabled=False):
        for image, tile, some in _tiles(len(shifts), len(pixels), pixels.shape[2]):
            here = [floor[some, image, :, None] for floor in floors]
            product = _run(pixels[image, :, tile], here, weights, buffers)
            torch.add(product, last[some, image, :, None], out=logits[some, image, :, tile])
    return logits.view(*logits.shape[:3], *shared.shape[2:])


def _shifts(shift: Tensor, weights: list[Tensor], layers: Sequence[nn.Conv2d]) -> list[Tensor]:
    """Return the shift (n, B, F) before each ReLU, and that of the logits."""
    shifts = [shift]
    for weight, layer in zip(weights, layers, strict=True):
        assert layer.bias is not None
        shifts.append(shifts[-1] @ weight.T + layer.bias.to(shift))
    return shifts


def _tiles(samples: int, images: int, pixels: int) -> Iterator[tuple[int, slice, slice]]:
    for image in range(images):
        for start in range(0, pixels, PIXELS):
            tile = slice(start, min(start + PIXELS, pixels))
            for first in range(0, samples, SAMPLES):
                yield image, tile, slice(first, min(first + SAMPLES, samples))


def _run(x: Tensor, floors: list[Tensor], weights: list[Tensor], buffers: Tensor) -> Tensor:
    """Return the last product (n, K, P) of x (F, P) and one floor (n, F, 1) a layer."""
    room, other = buffers
    for floor, weight in zip(floors, weights, strict=True):
        samples, count = len(floor), x.shape[-1]
        raised = torch.maximum(x, floor, out=_view(room, (*floor.shape[:2], count)))
        x = _view(other, (samples, len(weight), count))
        torch.bmm(weight.expand(samples, -1, -1), raised, out=x)
        room, other = other, room
    return x


def _view(buffer: Tensor, shape: tuple[int, int, int]) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)
