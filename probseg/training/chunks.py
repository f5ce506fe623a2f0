"""Gradients of a batch in the memory that there is: fewer images at a time where it runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from probseg.errors import ProbsegError
from probseg.training.gradients import Gradients, Loss, accumulate, has_batch_norm, images_at_once

logger = logging.getLogger("probseg.training")

# How torch, cuBLAS, cuDNN and the C++ library say it where they raise no OutOfMemoryError.
_SIGNS = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "bad_alloc")


class MemoryLimitError(ProbsegError, MemoryError):
    """A training step that does not fit into the memory."""


class Chunks:
    """Takes gradients a chunk of images at a time, and halves the chunk where memory runs out.

    A step that failed is taken again from the same random numbers and the same buffers, so it is
    the step of a run whose ``micro_batch`` was that small from the start. The chunk stays small
    from then on.

    Args:
        setting: ``TrainingSettings.micro_batch``.
        limit: Images at a time at most, where memory ran out before.
    """

    def __init__(self, setting: int | str, limit: int | None = None) -> None:
        self.setting = setting
        self.limit = limit

    def accumulate(
        self,
        loss: Loss,
        image: Tensor,
        label: Tensor,
        *,
        model: nn.Module,
        backward: Callable[[Tensor], Any],
        begin: Callable[[int], Any] = lambda place: None,
    ) -> Gradients:
        """Add the gradients of a batch's loss; see :func:`probseg.training.gradients.accumulate`.

        Raises:
            MemoryLimitError: One image at a time is too much, or other processes share the step.
        """
        restore = _snapshot(model, image.device)
        while True:
            chunk = min(images_at_once(self.setting, model, image), self.limit or len(image))
            try:
                return accumulate(loss, image, label, chunk=chunk, backward=backward, begin=begin)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._check_can_halve(chunk, image, error)
            # Only here, with the error, are the tensors gone that its frames had held.
            self.limit = chunk // 2
            restore()
            _tell(chunk, self.limit, model)

    def _check_can_halve(self, chunk: int, image: Tensor, error: Exception) -> None:
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


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error means that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in _SIGNS)


def _snapshot(model: nn.Module, device: torch.device) -> Callable[[], None]:
    """Return what brings back the random state, the buffers, and gradients of nothing."""
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


def _tell(before: int, now: int, model: nn.Module) -> None:
    also = " (and so are the statistics of batch normalisation)" if has_batch_norm(model) else ""
    logger.warning(
        "out of memory with %d images at a time: gradients are now added up from %d%s",
        *(before, now, also),
    )
