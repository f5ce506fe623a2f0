"""The parameters and FLOPs of a model's parts, counted by running it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

OUTSIDE = "(outside of parts)"


class PartSummary(NamedTuple):
    """The size and the cost of one part, for one image."""

    name: str
    type: str
    parameters: int
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


def summarise(model: Any, *, size: int | tuple[int, int], samples: int) -> ModelSummary:
    """Compute the loss, its gradients and samples once; count parameters and FLOPs meanwhile.

    Args:
        model: A ``probseg.interfaces.Model`` on the CPU.
        size: Edge of the image in pixels, or its height and width.
        samples: Of the image.
    """
    model = model.eval()
    height, width = (size, size) if isinstance(size, int) else size
    weights = [one for one in model.parameters() if one.requires_grad]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.rand(1, model.in_channels, height, width)
        label = torch.randint(model.classes, (1, height, width))
        if getattr(model, "all_annotators", False):
            label = label[:, None]  # everybody's masks, of one annotator
        training = _Counted(model)
        terms = training(lambda: model.loss(image, label))
        with FlopCounterMode(display=False) as gradients:
            torch.autograd.grad(torch.stack([*terms.values()]).sum(), weights, allow_unused=True)
        sampling = _Counted(model)
        sampling(lambda: model.sample(image, samples))
    flops = [run.counter.get_total_flops() for run in (training, sampling)]
    total = PartSummary("total", type(model).__name__, _size(model.parameters()), *flops)
    parts = list(_summaries(model, training, sampling))
    return ModelSummary(
        spec=model.spec,
        image=tuple(image.shape[1:]),
        samples=samples,
        parts=[*parts, *_remainder(total, parts)],
        total=total,
        gradient_flops=gradients.get_total_flops(),
    )


class _Counted(nn.Module):
    """Calls a function under a model's name, so that the counter knows the model's modules."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.counter = FlopCounterMode(display=False)

    def __call__(self, function: Callable[[], Any]) -> Any:
        with self.counter:
            return super().__call__(function)

    def forward(self, function: Callable[[], Any]) -> Any:
        return function()

    def flops(self, module: nn.Module, name: str) -> int:
        """Return the FLOPs of a module, its children's among them.

        A flow's steps run when its density is sampled, outside of the flow's own call.
        """
        own = self.counter.get_flop_counts().get(f"{type(self).__name__}.model.{name}", {})
        children = sum(self.flops(one, f"{name}.{n}") for n, one in module.named_children())
        return max(sum(own.values()), children)


def named_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the direct children of a model, and those of its containers, which are never called."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleDict | nn.ModuleList):
            yield from ((f"{name}.{n}", one) for n, one in child.named_children())
        else:
            yield name, child


def _summaries(model: nn.Module, *runs: _Counted) -> Iterator[PartSummary]:
    counted: set[nn.Parameter] = set()  # a parameter of two parts counts in the first
    for name, part in named_parts(model):
        own = set(part.parameters()) - counted
        counted |= own
        others = (n for n, one in model._modules.items() if one is part and n != name)
        flops = (run.flops(part, name) for run in runs)
        yield PartSummary(" = ".join([name, *others]), type(part).__name__, _size(own), *flops)


def _remainder(total: PartSummary, parts: list[PartSummary]) -> list[PartSummary]:
    """Return a row of what belongs to the model and to none of its parts, or none."""
    sums = (sum(numbers) for numbers in zip(*(part[2:] for part in parts), strict=True))
    rest = [whole - of_parts for whole, of_parts in zip(total[2:], sums, strict=True)]
    return [PartSummary(OUTSIDE, "", *rest)] if any(rest) else []


def _size(parameters: Iterable[Tensor]) -> int:
    return sum(one.numel() for one in parameters)
