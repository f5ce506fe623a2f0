"""One training in several processes: each takes its share of every batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from probseg.errors import ProbsegError
from probseg.training.finite import NonFiniteError

Context = Callable[[], AbstractContextManager[None]]


class Share(NamedTuple):
    """Which part of the work one of several processes does.

    >>> [Share(rank, 3).of_batch(8) for rank in range(3)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    >>> Share(1, 2).batches(5), Share(1, 2).batches(1)
    ([1, 3], [0])
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def of(cls, trainer: Trainer | None) -> Share:
        """Return the share of the process that a trainer runs in."""
        return cls(trainer.global_rank, trainer.world_size) if trainer else cls()

    def of_batch(self, images: int) -> slice:
        """Return this process's images of a batch; shares differ by one image at most."""
        first, end = (images * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return slice(first, end)

    def batches(self, count: int) -> list[int]:
        """Return which of ``count`` batches this process takes as a whole.

        Where there are fewer batches than processes, each takes them all: the mean is the same.
        """
        step = self.world_size
        return list(range(count) if count < step else range(self.rank, count, step))


class Processes(DDPStrategy):
    """Lightning's DDP in spawned processes on this machine, which end with the training.

    DDP's own wrapper is left out, for :func:`average` exchanges gradients once a step.
    All processes start from the same copy of the model.
    They share the threads that torch has now, and each enters ``contexts`` when it starts.
    """

    def __init__(self, count: int, contexts: Sequence[Context]) -> None:
        super().__init__(start_method="spawn")
        self.threads = max(1, torch.get_num_threads() // count)
        self.contexts = contexts
        self.entered = ExitStack()  # until the process ends

    def setup_environment(self) -> None:
        """Join the other processes."""
        torch.set_num_threads(self.threads)
        for context in self.contexts:
            self.entered.enter_context(context())
        super().setup_environment()

    def configure_ddp(self) -> None:
        """Leave the model as it is."""


def average(tensors: Sequence[Tensor], share: Share) -> None:
    """Replace tensors by their means over the processes, in one exchange."""
    if share.world_size == 1:
        return
    mean = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(mean)
    mean /= share.world_size
    sizes = [tensor.numel() for tensor in tensors]
    for tensor, part in zip(tensors, mean.split(sizes), strict=True):
        tensor.copy_(part.view(tensor.shape))


def broadcast_buffers(model: nn.Module, share: Share) -> None:
    """Give every process the buffers of the first one, whose model is the one that is kept."""
    if share.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


@contextmanager
def process_errors() -> Iterator[None]:
    """Raise the error of a spawned process as one process would have raised it.

    Raises:
        NonFiniteError: A process met NaN or infinity.
        ProbsegError: A process failed otherwise; its traceback is the cause.
    """
    try:
        yield
    except ProcessRaisedException as error:
        lines = re.findall(r"^(?:[\w.]+\.)?(\w+): (.*)", str(error), flags=re.MULTILINE)
        name, message = lines[-1] if lines else ("error", str(error))
        if name == NonFiniteError.__name__:
            raise NonFiniteError(message) from error
        raise ProbsegError(f"{name}: {message}") from error
