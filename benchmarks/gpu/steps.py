"""The part ``steps``: training steps of the three models beside the textbook's PU-Net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.gpu.part import PartOptions
from benchmarks.gpu.state import State
from benchmarks.gpu.timing import REHEARSAL, captured, measure
from benchmarks.speed.train import Ours, Textbook

MODELS = ("punet", "2p-planar", "csae")
LONG: dict[str, Any] = {"seconds": 0.7}
GEOMLOSS = {"name": "sinkhorn", "solver": "geomloss"}


class Contestant(NamedTuple):
    """What is timed, under which name."""

    name: str
    batch: int
    make: Callable[[], Callable[[], Any]]  # returns a step that does not wait


def run(options: PartOptions) -> None:
    """Time every contestant, the ones worth most first; each is written at once."""
    state = State(options.out, "steps", device=options.device_name)
    state["size"] = 16 if options.small else 128
    named = ((f"{c.batch}/{c.name}", c.make) for c in contestants(options))
    measure(state, named, options.device, REHEARSAL if options.small else LONG)


def contestants(options: PartOptions) -> Iterator[Contestant]:
    """Yield what is timed, in order."""
    device = options.device
    size = 16 if options.small else 128
    batches = (2,) if options.small else (32, 256)
    for batch in batches:
        known = {"batch": batch, "size": size, "device": device}
        yield Contestant("textbook", batch, _plain(Textbook, known))
        for model in MODELS:
            yield Contestant(f"{model}, eager", batch, _plain(Ours, known | {"model": model}))
        slower = known | {"model": "csae", "divergence": GEOMLOSS}
        yield Contestant("csae with GeomLoss's solver, eager", batch, _plain(Ours, slower))
        yield Contestant("textbook, bf16", batch, _plain(Textbook, known | {"bf16": True}))
        if device == "cuda":
            for model in MODELS:
                own = known | {"model": model}
                yield Contestant(f"{model}, CUDA graph", batch, _graphed(own))
    for batch in batches if device == "cuda" else ():  # a CPU takes minutes to compile
        known = {"batch": batch, "size": size, "device": device, "compiled": True}
        for model in MODELS:
            own = known | {"model": model}
            yield Contestant(f"{model}, compiled", batch, _plain(Ours, own))
            yield Contestant(f"{model}, compiled, CUDA graph", batch, _graphed(own))
    known = {"batch": batches[0], "size": size, "device": device, "plain": True}
    yield Contestant("punet, fp32, NCHW", batches[0], _plain(Ours, known))


def _plain(make: Any, options: dict[str, Any]) -> Callable[[], Callable[[], Any]]:
    return lambda: make(**options).step


def _graphed(options: dict[str, Any]) -> Callable[[], Callable[[], Any]]:
    return lambda: captured(Ours(**options, capturable=True).step)
