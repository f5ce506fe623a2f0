"""One optimizer step: gradients added up over chunks of a batch as memory allows, then clipped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from probseg.errors import InputError, ProbsegError

Loss = Callable[[Tensor, Tensor], dict[str, Tensor]]

logger = logging.getLogger("probseg.training")

# On CPUs: what 8 images of 128 x 128 have. More gains no speed and takes its memory.
PIXELS_AT_ONCE = 8 * 128 * 128

# How torch, cuBLAS, cuDNN and the C++ library say it where they raise no OutOfMemoryError.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "bad_alloc")


class MemoryLimitError(ProbsegError, MemoryError):
    """A training step that does not fit into the memory."""


class BatchLoss(NamedTuple):
    """The loss of a batch whose gradients were added up, scalars without a graph."""

    terms: dict[str, Tensor]
    loss: Tensor  # the sum of the terms


def accumulate(
    loss: Loss,
    image: Tensor,
    label: Tensor,
    *,
    chunk: int,
    backward: Callable[[Tensor], Any],
    begin: Callable[[int], Any] = lambda first: None,
) -> BatchLoss:
    """Add the gradients of a batch's loss, a chunk of images at a time.

    The terms of a loss are means over images, so the chunks' gradients, each weighted by its share
    of the images, sum to the batch's. Only one chunk's activations are held at a time.

    Args:
        loss: Returns the terms for images (b, C, H, W) and labels (b, H, W).
        image: (B, C, H, W).
        label: (B, H, W).
        chunk: Images at a time.
        backward: Called with the scalar whose gradients are wanted.
        begin: Called before each chunk with the index of its first image.
    """
    sums: dict[str, Tensor] = {}
    for first in range(0, len(image), chunk):
        images, labels = image[first : first + chunk], label[first : first + chunk]
        begin(first)
        weight = len(images) / len(image)
        terms = {name: weight * term.float() for name, term in loss(images, labels).items()}
        total = torch.stack(list(terms.values())).sum()
        if not total.requires_grad:
            raise InputError(
                "the loss depends on no weight that is to be trained; call requires_grad_(True) on "
                "a part of the model that the loss uses"
            )
        backward(total)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term.detach()
    return BatchLoss(sums, torch.stack(list(sums.values())).sum())


class GradientAccumulator:
    """Adds up gradients over chunks of a batch, and halves the chunk where memory runs out.

    A step that failed is repeated from the same random numbers and the same buffers, so it is the
    step of a run whose ``micro_batch`` was that small from the start. The chunk stays small from
    then on. ``limit`` is the largest chunk, where memory ran out before.
    """

    def __init__(self, micro_batch: int | str, limit: int | None = None) -> None:
        self.micro_batch = micro_batch
        self.limit = limit

    def accumulate(
        self,
        loss: Loss,
        image: Tensor,
        label: Tensor,
        *,
        model: nn.Module,
        backward: Callable[[Tensor], Any],
        begin: Callable[[int], Any] = lambda first: None,
    ) -> BatchLoss:
        """Add the gradients of a batch's loss; see :func:`probseg.training.gradients.accumulate`.

        Raises:
            MemoryLimitError: One image at a time is too much, or other processes share the step.
        """
        restore = _snapshot(model, image.device)
        while True:
            chunk = min(images_at_once(self.micro_batch, model, image), self.limit or len(image))
            try:
                return accumulate(loss, image, label, chunk=chunk, backward=backward, begin=begin)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                _check_can_halve(chunk, image, error)
            # The frames of the error kept its tensors alive; only here are they freed.
            self.limit = chunk // 2
            restore()
            also = " (and so are the statistics of batch normalisation)"
            logger.warning(
                "out of memory with %d images at a time: from now on gradients are accumulated "
                "over %d at a time%s",
                *(chunk, self.limit, also if has_batch_norm(model) else ""),
            )


def images_at_once(micro_batch: int | str, model: nn.Module, image: Tensor) -> int:
    """Return how many images of a batch (B, C, H, W) to take at a time.

    "auto" bounds the memory on a CPU. It does not cut the batch on accelerators, nor where batch
    normalisation reads its statistics.
    """
    if micro_batch != "auto":
        return min(int(micro_batch), len(image))
    if image.device.type != "cpu" or has_batch_norm(model):
        return len(image)
    return min(max(1, PIXELS_AT_ONCE // image[0, 0].numel()), len(image))


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a model's gradients depend on which images are taken together."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in _OUT_OF_MEMORY)


class Norms(NamedTuple):
    """The norms of an optimizer's gradients, as they were before they were clipped."""

    total: Tensor  # of all of them together
    each: Tensor  # (P,), of the P parameters that have one, in their order


def clip(optimizer: Optimizer, limit: float) -> Norms:
    """Clip the norm of all of an optimizer's gradients together.

    A fused optimizer divides the gradients in its own pass over them, and skips a step whose
    gradient is not finite; nothing waits for the device. Elsewhere torch clips.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    each = torch.stack(torch._foreach_norm(gradients))  # as torch's own clipping does
    total = torch.linalg.vector_norm(each)
    if optimizer.defaults.get("fused"):
        fused: Any = optimizer  # torch's own gradient scaler hands these two over in the same way
        fused.grad_scale = ((total + 1e-6) / limit).clamp_min(1.0)
        fused.found_inf = (~total.isfinite()).to(total.dtype)
    else:
        nn.utils.clip_grads_with_norm_(parameters, limit, total)
    return Norms(total, each)


def _snapshot(model: nn.Module, device: torch.device) -> Callable[[], None]:
    """Return a function that restores the random state and the buffers, and clears gradients."""
    state = torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]

    @torch.no_grad()
    def restore() -> None:
        torch.set_rng_state(state)
        if on_gpu is not None:
            torch.cuda.empty_cache()
            torch.cuda.set_rng_state(on_gpu, device)
        for buffer, before in buffers:
            buffer.copy_(before)
        model.zero_grad()

    return restore


def _check_can_halve(chunk: int, image: Tensor, error: Exception) -> None:
    size = " × ".join(map(str, image.shape[1:]))
    if chunk == 1:
        raise MemoryLimitError(
            f"one image of {size} at a time does not fit into the memory of {image.device}; "
            "take a smaller crop or backbone, or fewer samples of the divergence"
        ) from error
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise MemoryLimitError(
            f"{chunk} images of {size} at a time do not fit into the memory of "
            f"{image.device}; processes that share a step cannot halve it one by one: "
            f"set micro_batch={chunk // 2}"
        ) from error
