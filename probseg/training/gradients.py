"""One optimizer step: gradients of chunks of a batch, their norm clipped, no wait for a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from probseg.training.finite import norms

Loss = Callable[[Tensor, Tensor], dict[str, Tensor]]

# On CPUs: what 8 images of 128 x 128 have. More gains no speed and takes its memory.
PIXELS_AT_ONCE = 8 * 128 * 128


class Gradients(NamedTuple):
    """What a batch's gradients belong to."""

    terms: dict[str, Tensor]  # of the loss, scalars without a graph
    loss: Tensor  # their sum


def accumulate(
    loss: Loss,
    image: Tensor,
    label: Tensor,
    *,
    chunk: int,
    backward: Callable[[Tensor], Any],
    begin: Callable[[int], Any] = lambda place: None,
) -> Gradients:
    """Add the gradients of a batch's loss, a chunk of images at a time.

    The terms of a loss are means over images, so the chunks' gradients, each weighted by its share
    of the images, sum to the batch's. Only one chunk's activations are held at a time.

    Args:
        loss: Returns the terms for images (b, C, H, W) and labels (b, H, W).
        image: (B, C, H, W).
        label: (B, H, W).
        chunk: Images at a time.
        backward: What to do with a scalar whose gradients are wanted.
        begin: Called before each chunk with the place of its first image.
    """
    gathered: dict[str, Tensor] = {}
    for place in range(0, len(image), chunk):
        images, labels = image[place : place + chunk], label[place : place + chunk]
        begin(place)
        share = len(images) / len(image)
        terms = {name: share * term.float() for name, term in loss(images, labels).items()}
        backward(torch.stack(list(terms.values())).sum())
        for name, term in terms.items():
            gathered[name] = gathered.get(name, 0) + term.detach()
    return Gradients(gathered, torch.stack(list(gathered.values())).sum())


def images_at_once(setting: int | str, model: nn.Module, image: Tensor) -> int:
    """Return how many images of a batch (B, C, H, W) to take at a time.

    "auto" bounds the memory on a CPU, and leaves the batch whole on accelerators and where batch
    normalisation reads its statistics.
    """
    whole = len(image)
    if setting != "auto":
        return min(int(setting), whole)
    if image.device.type != "cpu" or has_batch_norm(model):
        return whole
    return min(max(1, PIXELS_AT_ONCE // image[0, 0].numel()), whole)


def has_batch_norm(model: nn.Module) -> bool:
    """Say whether a model's gradients depend on which images are taken together."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


class Norms(NamedTuple):
    """The norms of an optimizer's gradients, as they were before they were clipped."""

    total: Tensor  # of all of them together
    each: Tensor  # (P,), of the P parameters that have one, in their order


def clip(optimizer: Optimizer, limit: float) -> Norms:
    """Clip the norm of all of an optimizer's gradients together.

    A fused optimizer divides the gradients in its own pass over them, and leaves out a step whose
    gradient is not finite; nothing waits for the device. Elsewhere torch clips.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    each = torch.stack(norms([p.grad for p in parameters if p.grad is not None]))
    total = torch.linalg.vector_norm(each)
    if optimizer.defaults.get("fused"):
        fused: Any = optimizer  # torch's own gradient scaler hands these two over in the same way
        fused.grad_scale = ((total + 1e-6) / limit).clamp_min(1.0)
        fused.found_inf = (~total.isfinite()).to(total.dtype)
    else:
        nn.utils.clip_grads_with_norm_(parameters, limit, total)
    return Norms(total, each)
