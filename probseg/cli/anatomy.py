"""What a model costs, part by part: parameters, operations and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from probseg.cli.tracing import Flow, Tracer, memory_of, parts_of


@dataclass(frozen=True)
class Cost:
    """What one part costs, for one image."""

    name: str
    type: str
    parameters: int
    trainable: int
    sampling_flops: int  # of all samples
    training_flops: int  # of the loss, without its gradients


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    weights: int
    training_state: int  # weights, their gradients and Adam's two moments
    training_image: int  # what the backward pass reads, for each image of a batch
    samples: int  # the probabilities of all samples of an image


@dataclass(frozen=True)
class Anatomy:
    """A model taken apart."""

    spec: dict[str, Any]
    image: tuple[int, ...]  # (C, H, W)
    samples: int  # of the image
    parts: list[Cost]
    backward_flops: int
    memory: Memory
    training: Flow
    sampling: Flow


def dissect(model: Any, *, size: int, samples: int) -> Anatomy:
    """Run a model once in training and once in sampling, and say what that took.

    Args:
        model: A ``probseg.interfaces.Model`` on the CPU.
        size: Edge of the image in pixels.
        samples: Of the image.
    """
    image = torch.rand(1, model.in_channels, size, size)
    label = torch.randint(model.classes, (1, size, size))
    training, backward, kept = _train(model.eval(), image, label)
    sampling, probabilities = _sample(model, image, samples)
    parts = [_cost(name, part, sampling, training) for name, part in parts_of(model)]
    weights = sum(map(_bytes, [*model.parameters(), *model.buffers()]))
    trained = sum(_bytes(one) for one in model.parameters() if one.requires_grad)
    return Anatomy(
        spec=model.spec,
        image=tuple(image.shape[1:]),
        samples=samples,
        parts=parts,
        backward_flops=backward,
        memory=Memory(weights, weights + 3 * trained, kept, _bytes(probabilities)),
        training=training,
        sampling=sampling,
    )


def _cost(name: str, part: nn.Module, sampling: Flow, training: Flow) -> Cost:
    every = list(part.parameters())
    return Cost(
        name,
        type(part).__name__,
        sum(one.numel() for one in every),
        sum(one.numel() for one in every if one.requires_grad),
        sampling.flops.get(name, 0),
        training.flops.get(name, 0),
    )


def _train(model: Any, image: Tensor, label: Tensor) -> tuple[Flow, int, int]:
    """Return the flow, the operations of the backward pass, and the bytes that it reads."""
    tracer = Tracer(model, {"image": image, "label": label})
    with _saved(model) as kept, tracer.running():
        terms = model.loss(image, label)
    flow = tracer.flow(terms)
    read = sum(size for memory, size in kept.items() if not memory.expired())
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(
            torch.stack(list(terms.values())).sum(),
            [one for one in model.parameters() if one.requires_grad],
            allow_unused=True,
        )
    return flow, counter.get_total_flops(), read


def _sample(model: Any, image: Tensor, samples: int) -> tuple[Flow, Tensor]:
    tracer = Tracer(model, {"image": image})
    with torch.no_grad(), tracer.running():
        probabilities = model.sample(image, samples)
    return tracer.flow({"samples": probabilities}), probabilities


@contextmanager
def _saved(model: nn.Module) -> Iterator[dict[StorageWeakRef, int]]:
    """Yield the bytes, by memory, that are kept for the backward pass, without the weights."""
    kept: dict[StorageWeakRef, int] = {}
    weights = set(map(memory_of, model.parameters()))

    def pack(tensor: Tensor) -> Tensor:
        memory = memory_of(tensor)
        if memory not in weights:
            kept[memory] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
