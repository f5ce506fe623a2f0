"""Small models of every registered name, batches, and the same noise on every device.

The tests marked ``gpu`` run on ``DEVICE``, which is ``"cuda"``. ``PROBSEG_TEST_DEVICE=cpu pytest
tests/devices`` rehearses them where there is none: everything runs on the CPU, save what only a
GPU can show.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from hierarchical_models import WITH_PYRAMID, options_of
from small_models import ENCODER, UNET, asked, batch, generator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from probseg.options import named_parameters
from probseg.registry import registry

DEVICE = os.environ.get("PROBSEG_TEST_DEVICE", "cuda")

MODELS = list(registry("models"))
LATENT = [
    name
    for name in MODELS
    if "projector" in named_parameters(registry("models")[name]) and name not in WITH_PYRAMID
]
PROJECTORS = list(registry("projectors"))
# A divergence that is solved in several ways is tried in each.
SOLVERS: dict[str, list[dict[str, Any]]] = {
    "sinkhorn": [
        {"solver": solver, "weights": weights}
        for solver in ("geomloss", "stacked")
        for weights in ("uniform", "density")
    ]
}
DIVERGENCES = [
    {"name": name, **options}
    for name in registry("divergences")
    for options in SOLVERS.get(name, [{}])
]

only_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="a rehearsal has no CUDA device")


def tiny(name: str, **options: Any) -> Any:
    """Build any registered model, of few weights where it says which parts it has."""
    known = named_parameters(registry("models")[name])
    parts = {"backbone": UNET, "encoder": ENCODER}
    if name in WITH_PYRAMID:
        parts = options_of(name)
    chosen = {option: part for option, part in parts.items() if option in known}
    return registry("models").create(name, **{**chosen, **options})


def with_divergence(divergence: Mapping[str, Any], projector: str = "planar") -> Any:
    """Build a model that has a divergence on its projected space."""
    return tiny("csae", projector=projector, divergence=dict(divergence), gamma=1.0)


def called(options: Mapping[str, Any]) -> str:
    """Name a test by a part."""
    return " ".join(map(str, options.values()))


def data(size: int = 16, **options: Any) -> tuple[Tensor, Tensor]:
    """Return images and labels that are the same each time, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return batch(2, size, size, **options)


class SameNoise(TorchDispatchMode):
    """Draws every random number on the CPU, so that all devices see the same.

    Args:
        seed: Of the numbers.
    """

    def __init__(self, seed: int = 5) -> None:
        super().__init__()
        self.source = generator(seed)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **given)
        places = [a.device for a in args if isinstance(a, Tensor)] or [given.get("device")]
        on_cpu = [a.cpu() if isinstance(a, Tensor) else a for a in args]
        given |= {"generator": self.source} if _takes_generator(func) else {}
        given |= {"device": torch.device("cpu")} if "device" in given else {}
        drawn = func(*on_cpu, **given)
        if func.__name__.split(".")[0].endswith("_"):  # in place
            return args[0].copy_(drawn)
        return drawn.to(places[0] or "cpu")


def _takes_generator(func: Any) -> bool:
    return any(argument.name == "generator" for argument in func._schema.arguments)


def close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Fail unless two tensors, on any devices, differ by little beside the largest number."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    difference = (found.cpu() - wanted.cpu()).abs().max().item() if wanted.numel() else 0.0
    scale = wanted.abs().max().item() if wanted.numel() else 1.0
    assert difference <= tolerance * max(scale, 1e-3), (difference, scale)


def gradients(model: Any) -> dict[str, Tensor]:
    """Return every gradient by its parameter's name."""
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def learn(model: Any, image: Tensor, label: Tensor, *, seed: int = 5) -> dict[str, Tensor]:
    """Take gradients of a loss whose noise is the same on every device; return its terms."""
    model.zero_grad()
    with SameNoise(seed):
        terms = model.loss(image, asked(model, label))
    sum(terms.values()).backward()
    return {name: term.detach() for name, term in terms.items()}


def on(device: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Move tensors."""
    return tuple(tensor.to(device) for tensor in tensors)


def states() -> list[Tensor]:
    """Return the state of torch's global generators."""
    cuda = [torch.cuda.get_rng_state()] if DEVICE.startswith("cuda") else []
    return [torch.get_rng_state(), *cuda]


def reproducible(draw: Callable[[torch.Generator], Tensor], make: Callable[[], Any]) -> None:
    """Fail unless draws follow a generator, which goes on, and touch no global state."""
    before = states()
    first, second = (draw(source) for source in [make()] * 2)
    assert torch.equal(draw(make()), first)
    assert not torch.equal(first, second)
    assert all(map(torch.equal, states(), before))
    torch.manual_seed(1234)
    assert torch.equal(draw(make()), first)
