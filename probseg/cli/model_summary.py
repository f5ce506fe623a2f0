"""The parameters, output shapes and FLOPs of a model's parts, measured by running it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.utils.flop_counter import FlopCounterMode

OUTSIDE = "(outside of parts)"


class PartSummary(NamedTuple):
    """The size and the cost of one part, for one image."""

    name: str
    type: str
    parameters: int
    output: str  # shapes in the loss, or in sampling where the loss does not call the part
    loss_flops: int  # without the gradients
    sampling_flops: int  # of all samples


class ModelSummary(NamedTuple):
    """The size and the cost of a model, for one image."""

    spec: dict[str, Any]
    image: tuple[int, ...]  # (C, H, W)
    samples: int
    parts: list[PartSummary]  # they add up to the total
    total: PartSummary
    gradient_flops: int


class Run(NamedTuple):
    """One run of a model."""

    counter: FlopCounterMode
    flops: Counter[str]  # of each part
    outputs: dict[str, str]  # shapes of each part's first output


def summarise(model: Any, *, size: int, samples: int) -> ModelSummary:
    """Compute the loss, its gradients and samples once; count parameters and FLOPs meanwhile.

    Args:
        model: A ``probseg.interfaces.Model`` on the CPU.
        size: Edge of the image in pixels.
        samples: Of the image.
    """
    model = model.eval()
    parts = dict(named_parts(model))
    weights = [one for one in model.parameters() if one.requires_grad]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.rand(1, model.in_channels, size, size)
        label = torch.randint(model.classes, (1, size, size))
        with _recorded(parts) as training:
            terms = model.loss(image, label)
        with FlopCounterMode(display=False) as gradients:
            torch.autograd.grad(torch.stack([*terms.values()]).sum(), weights, allow_unused=True)
        with _recorded(parts) as sampling:
            model.sample(image, samples)
    flops = [run.counter.get_total_flops() for run in (training, sampling)]
    total = PartSummary("total", type(model).__name__, _size(model.parameters()), "", *flops)
    rows = list(_rows(parts, training, sampling))
    return ModelSummary(
        spec=model.spec,
        image=tuple(image.shape[1:]),
        samples=samples,
        parts=[*rows, *_remainder(total, rows)],
        total=total,
        gradient_flops=gradients.get_total_flops(),
    )


def named_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the direct children of a model, and those of its containers, which are never called.

    A child that the model has under two names is yielded once, as ``"first = second"``.
    """
    for child in model.children():
        name = " = ".join(n for n, other in model._modules.items() if other is child)
        if isinstance(child, nn.ModuleDict | nn.ModuleList):
            yield from ((f"{name}.{n}", one) for n, one in child.named_children())
        else:
            yield name, child


@contextmanager
def _recorded(parts: Mapping[str, nn.Module]) -> Iterator[Run]:
    """Record what the parts do in the context, by hooks on all their modules.

    A flow's steps, for instance, run when its density is sampled, outside of the flow's own call.
    """
    run = Run(FlopCounterMode(display=False), Counter(), {})
    starts: list[int] = []  # the count at the start of each call in progress, outermost first

    def enter(*_: object) -> None:
        starts.append(run.counter.get_total_flops())

    def leave(name: str, module: nn.Module, _: Any, result: Any) -> None:
        flops = run.counter.get_total_flops() - starts.pop()
        if not starts:
            run.flops[name] += flops
        if module is parts[name]:
            run.outputs.setdefault(name, shapes(result))

    hooks = []
    for name, part in parts.items():
        for module in part.modules():
            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(partial(leave, name)))
    try:
        with run.counter:
            yield run
    finally:
        for hook in hooks:
            hook.remove()


def _rows(parts: Mapping[str, nn.Module], training: Run, sampling: Run) -> Iterator[PartSummary]:
    counted: set[nn.Parameter] = set()  # a parameter of two parts counts in the first
    for name, part in parts.items():
        own = set(part.parameters()) - counted
        counted |= own
        output = training.outputs.get(name) or sampling.outputs.get(name, "")
        flops = training.flops[name], sampling.flops[name]
        yield PartSummary(name, type(part).__name__, _size(own), output, *flops)


def _remainder(total: PartSummary, rows: list[PartSummary]) -> list[PartSummary]:
    """Return a row of what belongs to the model and to none of its parts, or none."""
    fields = ("parameters", "loss_flops", "sampling_flops")
    rest = {name: getattr(total, name) - sum(getattr(row, name) for row in rows) for name in fields}
    return [PartSummary(OUTSIDE, "", output="", **rest)] if any(rest.values()) else []


def _size(parameters: Iterable[Tensor]) -> int:
    return sum(one.numel() for one in parameters)


def shapes(result: Any) -> str:
    """Return the shapes of what a part returns.

    >>> shapes((torch.zeros(2, 3), torch.distributions.Normal(torch.zeros(2), 1)))
    '(2, 3), Normal (2,)'
    """
    if isinstance(result, Tensor):
        return str(tuple(result.shape))
    if isinstance(result, Distribution):
        base = result.base_dist if isinstance(result, Independent) else result
        return f"{type(base).__name__} {tuple(result.batch_shape + result.event_shape)}"
    if isinstance(result, list | tuple):
        return ", ".join(map(shapes, result))
    return type(result).__name__
