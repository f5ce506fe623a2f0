"""The part ``sampling``: samples of images, from the image on, beside the textbook's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.gpu.part import PartOptions
from benchmarks.gpu.state import State
from benchmarks.gpu.timing import REHEARSAL, captured, measure
from benchmarks.speed.sample import model
from benchmarks.speed.textbook import TextbookPUNet, copy_weights

SHORT: dict[str, Any] = {"seconds": 0.4}


class Contestant(NamedTuple):
    """What is timed, under which name."""

    name: str
    count: int
    batch: int
    make: Callable[[], Callable[[], Any]]


def run(options: PartOptions) -> None:
    """Time every contestant; each is written at once."""
    state = State(options.out, "sampling", device=options.device_name)
    state["size"] = 16 if options.small else 128
    named = ((f"{c.count}×{c.batch}/{c.name}", c.make) for c in contestants(options))
    measure(state, named, options.device, REHEARSAL if options.small else SHORT)


def contestants(options: PartOptions) -> Iterator[Contestant]:
    """Yield what is timed, in order."""
    device, size = options.device, 16 if options.small else 128
    cases = ((3, 2), (5, 1)) if options.small else ((16, 8), (100, 8), (100, 1), (16, 256))
    for count, batch in cases:
        image = torch.rand(batch, 1, size, size, generator=torch.Generator().manual_seed(1))
        image = image.to(device)
        yield Contestant("textbook", count, batch, _textbook(image, count))
        yield Contestant("probseg", count, batch, _ours(image, count))
        yield Contestant("probseg, bf16", count, batch, _ours(image, count, bf16=True))
        if device == "cuda":
            yield Contestant("probseg, bf16, CUDA graph", count, batch, _graph(image, count))


def _textbook(image: torch.Tensor, count: int) -> Callable[[], Callable[[], Any]]:
    def make() -> Callable[[], Any]:
        network = TextbookPUNet().to(image.device)
        copy_weights(model().to(image.device), network)
        return lambda: network.sample(image, count)

    return make


def _ours(
    image: torch.Tensor, count: int, *, bf16: bool = False
) -> Callable[[], Callable[[], Any]]:
    def make() -> Callable[[], Any]:
        made, x = _laid_out(image)

        def call() -> Any:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                return made.sample(x, count)

        return call

    return make


def _graph(image: torch.Tensor, count: int) -> Callable[[], Callable[[], Any]]:
    """Capture what ``sample`` does after it has looked at the image's values."""

    def make() -> Callable[[], Any]:
        made, x = _laid_out(image)

        @torch.no_grad()
        def call() -> Any:
            with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
                latent = made.sampled_density(x, projected=False).rsample((count,))
                return made.decoder(made.backbone(x), latent).float().softmax(-3)

        return captured(call)

    return make


def _laid_out(image: torch.Tensor) -> tuple[Any, torch.Tensor]:
    made: nn.Module = model().to(image.device, memory_format=torch.channels_last)
    return made, image.contiguous(memory_format=torch.channels_last)
