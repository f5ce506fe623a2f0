"""Restoring a model from its description and a file of weights, without trusting either.

While the model is built, every tensor is counted before torch makes it, and a model much larger
than the file is refused.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from probseg.errors import CheckpointError

# While it is built, a network may make and drop layers: VGG's last ones have 124 million weights.
_SPARE_OPERATIONS, _SPARE_NUMBERS = 10_000, 150_000_000
_MAX_NAMED = 5  # tensors in a message

# They take a size, as one sequence or as several numbers.
_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


def restored(make: Callable[[], nn.Module], file: Path) -> nn.Module:
    """Return the model that ``make`` builds, with the weights in ``file``.

    A weight keeps the floating type that it has in the file.

    Raises:
        CheckpointError: The file does not hold the weights of that model.
        SafetensorError: The file is damaged.
    """
    with safe_open(str(file), framework="pt") as content:  # maps them into memory
        tensors = {name: content.get_tensor(name) for name in content.keys()}
    budget = _Budget(tensors.values(), file)
    try:
        with budget:
            model = make()
    except Exception as error:
        if budget.overdrawn and error is not budget.overdrawn:  # a part raised another error for it
            raise budget.overdrawn from error
        raise
    own = model.state_dict(keep_vars=True)
    if faults := list(_faults(own, tensors)):
        more = f" and {len(faults) - _MAX_NAMED} more" if len(faults) > _MAX_NAMED else ""
        raise CheckpointError(
            f"the weights in {file} are not those of the model it describes: "
            f"{'; '.join(faults[:_MAX_NAMED])}{more}"
        )
    for name, tensor in tensors.items():
        own[name].data = own[name].data.to(tensor.dtype)
    model.load_state_dict(tensors, strict=False)  # of a tensor with two names, one is there
    return model


class _Budget(TorchFunctionMode):
    """Limits what may be allocated while a model is built, by the size of its file; one thread."""

    def __init__(self, tensors: Collection[Tensor], file: Path) -> None:
        super().__init__()
        self.file = file
        self.operations = _SPARE_OPERATIONS + 200 * len(tensors)
        self.numbers = _SPARE_NUMBERS + 2 * sum(tensor.numel() for tensor in tensors)
        self.overdrawn: CheckpointError | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Count an operation, and the numbers that it is to make or to fill, before it runs."""
        options = kwargs or {}
        tensors = [argument for argument in args if isinstance(argument, Tensor)]
        if func in _MAKERS or tensors:  # the rest are settings, which must be set back
            made = _requested(args, options) if func in _MAKERS else 0
            self._spend(made, max((tensor.numel() for tensor in tensors), default=0))
        return func(*args, **options)

    def _spend(self, made: int, filled: int) -> None:
        self.operations -= 1
        self.numbers -= made
        if self.operations < 0 or self.numbers < filled:
            self.overdrawn = CheckpointError(
                f"the model that {self.file} describes is far larger than the weights in the file; "
                "it is damaged, or was made to fill the memory"
            )
            raise self.overdrawn


def _requested(args: Sequence[Any], options: Mapping[str, Any]) -> int:
    """Return how many numbers the requested tensor has."""
    size = options.get("size", args)
    if len(size) and isinstance(size[0], Sequence):
        size = size[0]
    return abs(math.prod(side for side in size if isinstance(side, int)))


def _faults(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield what keeps a file's tensors from being those of a model."""
    names = defaultdict(list)
    for name, tensor in own.items():
        names[id(tensor)].append(name)
    for same in names.values():  # one of a tensor's names is enough
        if not tensors.keys() & same:
            yield f"it has no {same[0]!r}"
    for name, tensor in tensors.items():
        if name not in own:
            yield f"{name!r} is none of the model's"
        elif tensor.shape != own[name].shape:
            yield f"{name!r} is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
        elif not _same_kind(tensor.dtype, own[name].dtype):
            yield f"{name!r} is of the type {tensor.dtype}, not {own[name].dtype}"


def _same_kind(stored: torch.dtype, own: torch.dtype) -> bool:
    real = stored.is_floating_point and stored.itemsize > 1  # no layer computes in eight bits
    return stored == own or (real and own.is_floating_point)
