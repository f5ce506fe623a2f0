r"""Pixel by pixel networks for many samples of an image on a CPU, tile by tile in its cache.

The network is 1x1 convolutions on :math:`\mathrm{relu}(W_0 x + b_0 + s)`, where the features x of
an image are shared by its samples and the shift s is one of each sample. A tile is some pixels and
some samples; all its layers are computed before the next one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Pixels and samples of a tile: with 32 features 2 MiB in float32, and 512 KiB for each thread where
# the activations of all layers are needed.
PIXELS, SAMPLES = 4096, 4
PIXELS_WITH_GRADIENTS = 1024


@torch.no_grad()
def tiled_logits(
    features: Tensor, shifts: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> Tensor:
    r"""Return the logits of 1x1 convolutions on :math:`\mathrm{relu}(x + s)` for many shifts s.

    As :math:`\mathrm{relu}(x + s) = \max(x, -s) + s`, and a shift passes through a convolution as
    another shift, each layer is one matrix product and one maximum per tile, in place.

    Args:
        features: (B, F, H, W).
        shifts: s, one of each sample, (n, B, F').
        weights: The first gives x, (F', F), which all samples share; a ReLU stands before each of
            the others.
        biases: Of each layer.

    Returns:
        (n, B, K, H, W), of the type of ``features``.
    """
    pixels = features.flatten(2)
    weights = [weight.to(pixels) for weight in weights]
    *passing, last = _shifts(shifts.to(pixels), weights, biases)
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


def _shifts(shift: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """Return the shift (n, B, F) before each ReLU, and that of the logits."""
    shifts = [shift + biases[0].to(shift)]
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        shifts.append(shifts[-1] @ weight.T + bias.to(shift))
    return shifts


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _run(x: Tensor, floors: list[Tensor], weights: Sequence[Tensor], buffers: Tensor) -> Tensor:
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


class TiledLogits(torch.autograd.Function):
    """:func:`tiled_logits` with gradients, for which each tile is computed once more.

    So activations of the layers, several times as much memory as all else in a step, are never
    written to memory and read again.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, shifts: Tensor, *layers: Tensor) -> Tensor:
        """Return logits (n, B, K, H, W); the layers are the weights, then the biases."""
        ctx.save_for_backward(features, shifts, *layers)
        return tiled_logits(features, shifts, *_halves(layers))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of features, shifts, weights and biases."""
        features, *given_to = ctx.saved_tensors
        shifts, *layers = given_to
        pixels = features.flatten(2).mT.contiguous()  # which channels last are already
        network = _Gradients(pixels, shifts, *_halves(layers))
        with torch.autocast(features.device.type, enabled=False):
            network.add(gradient.flatten(3).mT.contiguous())
        of_features = network.pixels.mT.view_as(features)
        found = (network.shifts, *network.weights, *network.biases)
        return (of_features, *(one.to(given) for one, given in zip(found, given_to, strict=True)))


def _halves(layers: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    middle = len(layers) // 2
    return layers[:middle], layers[middle:]


class _Gradients:
    """Gradients of the network's inputs and layers, summed over tiles.

    A tile's activations are (n P, F), where products over the pixels are fastest.
    """

    def __init__(
        self,
        pixels: Tensor,
        shifts: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
    ) -> None:
        weights, biases = ([one.to(pixels) for one in layers] for layers in (weights, biases))
        self.inputs = pixels, shifts.to(pixels), weights, biases
        self.pixels = torch.empty_like(pixels)
        self.shifts = torch.zeros_like(self.inputs[1])
        self.weights = [torch.zeros_like(weight) for weight in weights]
        self.biases = [torch.zeros_like(bias) for bias in biases]

    def add(self, gradient: Tensor) -> None:
        """Add what a gradient (n, B, P, K) of the logits gives."""
        pixels, _, weights, biases = self.inputs
        for image, tile in self._tiles():
            here = pixels[image, tile]
            shared = torch.addmm(biases[0], here, weights[0].T)
            of_shared = torch.zeros_like(shared)
            for some in _slices(len(gradient), SAMPLES):
                of_shared += self._add_samples(shared, image, some, gradient[some, image, tile])
            self.weights[0].addmm_(of_shared.T, here)
            self.biases[0] += of_shared.sum(0)
            torch.mm(of_shared, weights[0], out=self.pixels[image, tile])

    def _tiles(self) -> Iterator[tuple[int, slice]]:
        pixels = self.inputs[0]
        size = PIXELS_WITH_GRADIENTS * torch.get_num_threads()
        return product(range(len(pixels)), _slices(pixels.shape[1], size))

    def _add_samples(self, shared: Tensor, image: int, some: slice, gradient: Tensor) -> Tensor:
        """Add the gradients of some samples, and return that of what they share, (P, F')."""
        _, shifts, weights, biases = self.inputs
        active = [torch.relu_(shared + shifts[some, image, None]).flatten(0, 1)]
        for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
            active.append(torch.addmm(bias, active[-1], weight.T).relu_())
        of_output = gradient.flatten(0, 1)  # (n P, K)
        for index in range(len(weights) - 1, 0, -1):
            x = active[index - 1]
            self.weights[index].addmm_(of_output.T, x)
            self.biases[index] += of_output.sum(0)
            of_output = torch.ops.aten.threshold_backward(of_output @ weights[index], x, 0)
        each = of_output.view(-1, *shared.shape)
        self.shifts[some, image] += each.sum(1)
        return each.sum(0)
