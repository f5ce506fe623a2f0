"""A device without float64, simulated on any machine: it says "mps" and computes on the CPU.

Every operation that would make a float64 tensor there raises what Apple's GPUs raise, also one
that another operation does inside; so does one that mixes its tensors with the CPU's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS = torch.device("mps", 0)
REFUSED = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
    "Please use float32 instead."
)
_NAMING = torch.device, torch._C._nn._parse_to  # they name a device and make nothing there
_ANYWHERE = Tensor.copy_, Tensor.to, Tensor.__getitem__, Tensor.__setitem__  # mix places


class There(Tensor):
    """A tensor on the device; what it holds can be reached by moving it only."""

    held: Tensor
    refused: tuple[torch.dtype, ...] = (torch.float64,)
    device = property(lambda self: MPS)  # without its library torch puts nothing there

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        if held.dtype in cls.refused:
            raise TypeError(REFUSED)
        there = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device="cpu"
        )
        there.held = held
        return there

    def __repr__(self, **known: Any) -> str:
        return f"There({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*tree_map(_held, args), **tree_map(_held, kwargs or {}))
        return args[0] if func._schema.is_mutable else tree_map(_sent, found)


class Without64(TorchFunctionMode):
    """While it is entered, `.to("mps")` and `device="mps"` work, and give tensors on the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _NAMING:
            return func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs))
        if func is Tensor.tolist:
            return _held(args[0]).tolist()  # which torch refuses of subclasses
        if any(_is(part, "mps") for part in leaves):
            here = tree_map(lambda part: "cpu" if _is(part, "mps") else _held(part), (args, kwargs))
            return tree_map(_sent, func(*here[0], **here[1]))
        if isinstance(args[0] if args else None, There) and _leaves(func, leaves):
            if {*There.refused} & {part for part in leaves if isinstance(part, torch.dtype)}:
                raise TypeError(REFUSED)  # it converts before it copies
            return func(args[0].held, *args[1:], **kwargs)
        if func not in _ANYWHERE and any(isinstance(part, There) for part in leaves):
            _check_together(func, leaves)
        return func(*args, **kwargs)


def _leaves(func: Any, leaves: list[Any]) -> bool:
    return func is Tensor.cpu or (func is Tensor.to and any(_is(part, "cpu") for part in leaves))


def _is(part: Any, kind: str) -> bool:
    named = isinstance(part, str) and part.partition(":")[0] == kind
    return named or (isinstance(part, torch.device) and part.type == kind)


def _held(part: Any) -> Any:
    return part.held if isinstance(part, There) else part


def _sent(part: Any) -> Any:
    return There(part) if isinstance(part, Tensor) and not isinstance(part, There) else part


def _check_together(func: Any, leaves: list[Any]) -> None:
    others = (part for part in leaves if isinstance(part, Tensor) and not isinstance(part, There))
    if any(part.ndim for part in others):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, mps:0 and cpu")
