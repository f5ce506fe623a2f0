"""Restoring a model from its description and a file of weights, without trusting either.

The header of the file gives the size of the weights. While the model is built, every tensor is
counted before torch makes it, and a model much larger than the file is refused.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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

# How a header names the types that torch's models have.
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class TensorHeader(NamedTuple):
    """Type and shape of one tensor, as the header of a file gives them."""

    type: str  # "F32"
    shape: tuple[int, ...]


def read_header(file: Path) -> dict[str, TensorHeader]:
    """Return type and shape of the tensors in a file, without reading them.

    Raises:
        SafetensorError: The header is damaged.
    """
    with safe_open(str(file), framework="pt") as content:
        slices = {name: content.get_slice(name) for name in content.keys()}
        return {n: TensorHeader(s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}


def restored(make: Callable[[], nn.Module], file: Path) -> nn.Module:
    """Return the model that ``make`` builds, with the weights in ``file``.

    A weight keeps the floating type that it has in the file.

    Args:
        make: Builds the model.
        file: A safetensors file.

    Raises:
        CheckpointError: The file does not hold the weights of that model.
        SafetensorError: The file is damaged.
    """
    header = read_header(file)
    budget = _Budget(header, file)
    try:
        with budget:
            model = make()
    except Exception as error:
        if budget.overdrawn and error is not budget.overdrawn:  # a part raised another error for it
            raise budget.overdrawn from error
        raise
    _check_tensors(model, header, file)
    with safe_open(str(file), framework="pt") as content:
        _fill(model, {name: content.get_tensor(name) for name in header})
    return model


class _Budget(TorchFunctionMode):
    """Limits what may be allocated while a model is built, by the size of its file; one thread."""

    def __init__(self, header: Mapping[str, TensorHeader], file: Path) -> None:
        super().__init__()
        # safetensors checked the header against the file
        held = sum(math.prod(entry.shape) for entry in header.values())
        self.file = file
        self.operations = _SPARE_OPERATIONS + 200 * len(header)
        self.numbers = _SPARE_NUMBERS + 2 * held
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


def _check_tensors(model: nn.Module, header: Mapping[str, TensorHeader], file: Path) -> None:
    own = model.state_dict(keep_vars=True)
    wrong = [f"it has no {name!r}" for name in _missing(own, header)]
    wrong += [f"{name!r} is none of the model's" for name in header if name not in own]
    for name, entry in header.items():
        wrong += [fault for fault in (_fault(name, entry, own.get(name)),) if fault]
    if wrong:
        more = f" and {len(wrong) - _MAX_NAMED} more" if len(wrong) > _MAX_NAMED else ""
        raise CheckpointError(
            f"the weights in {file} are not those of the model it describes: "
            f"{'; '.join(wrong[:_MAX_NAMED])}{more}"
        )


def _missing(own: Mapping[str, Tensor], header: Mapping[str, TensorHeader]) -> list[str]:
    """Return one name of each tensor that the file has under none of its names."""
    names = defaultdict(list)
    for name, tensor in own.items():
        names[id(tensor)].append(name)
    return [same[0] for same in names.values() if not header.keys() & same]


def _fault(name: str, entry: TensorHeader, own: Tensor | None) -> str | None:
    if own is None:
        return None
    if entry.shape != tuple(own.shape):
        return f"{name!r} is {entry.shape}, not {tuple(own.shape)}"
    kind = _TYPES.get(entry.type)
    if kind is None or (
        kind != own.dtype and not (kind.is_floating_point and own.is_floating_point())
    ):
        return f"{name!r} is of the type {entry.type}, not {own.dtype}"
    return None


def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = model.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        if own[name].dtype != tensor.dtype:
            own[name].data = own[name].data.to(tensor.dtype)
    model.load_state_dict(tensors, strict=False)  # of a tensor with two names, one is there
