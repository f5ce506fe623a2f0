"""A GPU that is not there: fake tensors of the device "cuda:0", and what the host waits for.

Within :class:`FakeCuda` the real code runs on tensors that have shapes, types and a device but no
values. torch itself raises where tensors of two devices meet. What the host has to wait for is
written down with the place in probseg that asks for it, and answered as if all were well, so that
the code goes on:

* a value that is read (``.item()``, ``bool(tensor)``);
* a copy from the GPU, or a copy to it that does not say ``non_blocking=True``;
* a tensor of the CPU, even of no dimensions, that meets one of the GPU.

Float64 that is made on the GPU, which other devices do not have, is written down as well. A result
whose size depends on values (``nonzero``, a boolean index) has no answer; torch raises. A backward
pass needs a real GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import probseg

CUDA = torch.device("cuda:0")
PACKAGE = Path(probseg.__file__).parent


class FakeCuda:
    """A context in which "cuda:0" is there, as far as shapes, types and devices go.

    Args:
        truth: What a boolean that is read is said to be, on the CPU or on the GPU.

    Attributes:
        waits: What the host waited for, ``"what: file:function"`` of probseg, in order; and where
            float64 was made.
    """

    def __init__(self, *, truth: bool = True) -> None:
        self.waits: list[str] = []
        self._truth = truth
        self._mode = FakeTensorMode(allow_non_fake_inputs=False)
        self._stack = ExitStack()

    def __enter__(self) -> FakeCuda:
        self._stack.enter_context(self._mode)
        self._stack.enter_context(_Watch(self.waits, self._truth))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def tensor(self, tensor: Tensor) -> Tensor:
        """Return a fake of a tensor, on the GPU."""
        with self._mode:
            return torch.empty_strided(
                *(tensor.shape, tensor.stride()), dtype=tensor.dtype, device=CUDA
            )

    def on_cpu(self, tensor: Tensor) -> Tensor:
        """Return a fake of a tensor, on the CPU."""
        return self._mode.from_tensor(tensor)

    def module(self, module: Any) -> Any:
        """Move the parameters and buffers of a module to the GPU, and return it.

        Tensors that are neither stay behind, as ``module.cuda()`` would leave them.
        """
        for part in module.modules() if isinstance(module, nn.Module) else ():
            for name, weight in part._parameters.items():
                if weight is not None:
                    moved = self.tensor(weight.detach())
                    part._parameters[name] = nn.Parameter(moved, weight.requires_grad)
            for name, buffer in part._buffers.items():
                part._buffers[name] = None if buffer is None else self.tensor(buffer)
        return module


@contextmanager
def autocast(kind: torch.dtype | None) -> Iterator[None]:
    """Switch on CUDA's autocast, which ``torch.autocast`` refuses where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", kind is not None)
    torch.set_autocast_dtype("cuda", kind or before[1])
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


class _Watch(TorchDispatchMode):
    """Writes down what waits, and answers reads."""

    def __init__(self, waits: list[str], truth: bool) -> None:
        super().__init__()
        self.waits = waits
        self.answers = {torch.bool: truth}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        given = [leaf for leaf in tree_leaves([args, options]) if isinstance(leaf, Tensor)]
        if func is torch.ops.aten._local_scalar_dense.default:
            if on_gpu(given[0]):
                self._note("a value is read")
            return self.answers.get(given[0].dtype, 1)
        try:
            result = func(*args, **options)
        except DynamicOutputShapeException:
            self._note("a size is read")
            raise
        if func in _COPIES:
            patient = not (options.get("non_blocking") or True in args[2:])
            self._look_at_copy(given, result, patient)
        elif func in _CHECKS or _picks(func, args):
            self._note("a value is read")
        elif _meet(func, given):
            self._note("a CPU tensor meets the GPU's")
        if _double(result) and not _double(given):
            self._note("float64 is made")
        return result

    def _look_at_copy(self, given: list[Tensor], result: Any, patient: bool) -> None:
        source, target = given[-1], given[0] if len(given) > 1 else result
        if on_gpu(source) and not on_gpu(target):
            self._note("copied to the CPU")
        elif on_gpu(target) and not on_gpu(source) and patient:
            self._note("copied to the GPU")

    def _note(self, what: str) -> None:
        self.waits.append(f"{what}: {_place()}")


_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_CHECKS = {torch.ops.aten._linalg_check_errors.default}
_FILLING = {torch.ops.aten.index_put_, torch.ops.aten.index_put, torch.ops.aten.fill_}


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor is on the fake GPU."""
    return tensor.device.type == "cuda"


def _picks(func: Any, args: Sequence[Any]) -> bool:
    """Whether places are written to where a mask holds; one number alone is filled in at once."""
    if func.overloadpacket not in (torch.ops.aten.index_put_, torch.ops.aten.index_put):
        return False
    masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
    return on_gpu(args[0]) and bool(masks) and not _number(args[2])


def _meet(func: Any, given: list[Tensor]) -> bool:
    """Whether tensors of two devices meet; what is filled in may be a number of Python's."""
    if func.overloadpacket in _FILLING:
        given = [tensor for tensor in given if not _number(tensor)]
    return any(map(on_gpu, given)) and not all(map(on_gpu, given))


def _double(tensors: Any) -> bool:
    """Whether one of several is in double precision on the GPU."""
    leaves = [leaf for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)]
    return any(on_gpu(leaf) and leaf.dtype == torch.float64 for leaf in leaves)


def _number(tensor: Tensor) -> bool:
    return tensor.ndim == 0 and not on_gpu(tensor)


def _place() -> str:
    """Return the innermost function of probseg that is running, and has a name."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        # since Python 3.12 a list's comprehension is no function any more
        if file.is_relative_to(PACKAGE) and not frame.f_code.co_name.startswith("<"):
            return f"{file.relative_to(PACKAGE)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "outside probseg"


def fakes(tensors: Any) -> bool:
    """Whether all tensors within are fakes on the GPU."""
    leaves = [leaf for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)]
    return bool(leaves) and all(isinstance(x, FakeTensor) and x.device == CUDA for x in leaves)
