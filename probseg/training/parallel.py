"""One training in several processes: each takes its share of every batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn.parallel import DistributedDataParallel

from probseg.errors import ProbsegError
from probseg.training.allocator import kept_memory
from probseg.training.finite import DivergenceError
from probseg.training.quiet import quiet_lightning


class Share(NamedTuple):
    """Which part of everything one of several processes does.

    >>> [Share(rank, of=3).of_batch(8) for rank in range(3)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    >>> Share(1, of=2).turns(5), Share(1, of=2).turns(1)
    ([1, 3], [0])
    """

    rank: int = 0
    of: int = 1

    def of_batch(self, images: int) -> slice:
        """Return this process's images of a batch; shares differ by one image at most."""
        return slice(images * self.rank // self.of, images * (self.rank + 1) // self.of)

    def turns(self, batches: int) -> list[int]:
        """Return the numbers of the batches that this process takes whole.

        Where there are fewer than processes, each takes them all, and the mean is the same.
        """
        return list(range(batches) if batches < self.of else range(self.rank, batches, self.of))


class DataParallel(DDPStrategy):
    """Lightning's DDP in spawned processes, as quiet and as quick as a single one.

    The processes are on this machine and end with the training. They exchange gradients once a
    step (see :func:`average`) and running statistics before a validation round (:func:`agree`).

    Args:
        processes: How many will share the threads that torch has now.
    """

    def __init__(self, processes: int) -> None:
        super().__init__(start_method="spawn")
        self.threads = max(1, torch.get_num_threads() // processes)

    def setup_environment(self) -> None:
        """Join the other processes."""
        torch.set_num_threads(self.threads)
        self._held = ExitStack()  # until this process ends
        self._held.enter_context(quiet_lightning())
        self._held.enter_context(kept_memory())
        super().setup_environment()

    def configure_ddp(self) -> None:
        """Wrap the model, which starts as the first process's everywhere."""
        super().configure_ddp()
        wrapped: Any = self.model
        wrapped.broadcast_buffers = False  # processes may validate unequal numbers of batches


def alone(strategy: Any) -> AbstractContextManager[None]:
    """Let backward passes inside exchange no gradients: several of them make one step."""
    several = isinstance(strategy.model, DistributedDataParallel)
    return strategy.block_backward_sync() if several else nullcontext()


def average(parameters: Iterable[nn.Parameter], share: Share) -> None:
    """Replace gradients by their means over the processes, in one exchange.

    Unlike DDP's own exchange during the backward pass, this one allows for parameters that a loss
    leaves out, and for a process that repeats a chunk.
    """
    if share.of == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    everything = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(everything)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, torch.split(everything / share.of, sizes), strict=True):
        gradient.copy_(part.view(gradient.shape))


def agree(model: nn.Module, share: Share) -> None:
    """Give every process the buffers of the first one, whose model is the one that is kept."""
    if share.of > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


@contextmanager
def errors_of_processes() -> Iterator[None]:
    """Raise the error of a spawned process as one process would have raised it.

    Raises:
        DivergenceError: A process met NaN or infinity.
        ProbsegError: A process failed otherwise; its traceback is the cause.
    """
    try:
        yield
    except ProcessRaisedException as error:
        told = re.findall(r"^(?:[\w.]+\.)?(\w+): (.*)", str(error), flags=re.MULTILINE)
        name, message = told[-1] if told else ("error", str(error))
        kind = DivergenceError if name == DivergenceError.__name__ else ProbsegError
        prefix = "" if kind is DivergenceError else f"{name}: "
        raise kind(prefix + message) from error
