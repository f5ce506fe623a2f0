"""Where data go in a model: which part reads what, found by running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

Sources = frozenset[str]


class Node(NamedTuple):
    """An input of a model, a call of one of its parts, or an output."""

    name: str
    reads: tuple[str, ...]  # names of nodes
    gives: str  # shapes


class Flow(NamedTuple):
    """What happened in one run of a model."""

    nodes: tuple[Node, ...]  # in the order in which they came to be
    flops: Mapping[str, int]  # of each part; a multiplication and an addition are two


class Tracer(TorchDispatchMode):
    """Follows tensors from part to part while it is active.

    Every tensor carries the names of what it comes from. What a part gives comes from that part
    alone; what any other operation gives comes from wherever its arguments do.

    Args:
        model: Whose direct children are the parts.
        inputs: What it will be called with, by name.
    """

    def __init__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._parts = dict(parts_of(model))
        self._counter = FlopCounterMode(display=False)
        self._flops: Counter[str] = Counter()
        self._inside = [0]  # depth of calls of modules
        self._sources: dict[StorageWeakRef, Sources] = {}  # by the memory of a tensor
        self._nodes: dict[str, Node] = {}
        for name, tensor in inputs.items():
            self._add(Node(name, (), shapes(tensor)), [tensor])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and note where its results come from."""
        result = func(*args, **(kwargs or {}))
        sources = self._union(_tensors(tree_leaves((args, kwargs))))
        for tensor in _tensors(tree_leaves(result)):
            self._sources[memory_of(tensor)] = sources
        return result

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow what is computed in the context."""
        hooks = list(self._hooks())
        try:
            with self._counter, self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def flow(self, outputs: Mapping[str, Tensor]) -> Flow:
        """Return what was seen, with what came out of it."""
        ends = [Node(n, self._names(self._union([t])), shapes(t)) for n, t in outputs.items()]
        return Flow((*self._nodes.values(), *ends), dict(self._flops))

    def _hooks(self) -> Iterator[RemovableHandle]:
        for name, part in self._parts.items():
            for module in part.modules():  # a flow's steps run when its density is sampled
                yield from self._follow(module, name)

    def _follow(self, module: nn.Module, name: str) -> Iterator[RemovableHandle]:
        before: list[tuple[int, list[Tensor]]] = []

        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._inside[0] += 1
            if self._inside[0] == 1:
                before.append((self._counter.get_total_flops(), list(_inner((args, kwargs)))))

        def leave(_: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            self._inside[0] -= 1
            if self._inside[0] == 0:
                flops, given = before.pop()
                self._flops[name] += self._counter.get_total_flops() - flops
                self._note(name, given, result)

        yield module.register_forward_pre_hook(enter, with_kwargs=True)
        yield module.register_forward_hook(leave, with_kwargs=True)

    def _note(self, name: str, given: list[Tensor], result: Any) -> None:
        old = set(map(memory_of, given))
        new = [tensor for tensor in _inner(result) if memory_of(tensor) not in old]
        if new:  # else it passes on what it was given
            self._add(Node(name, self._names(self._union(given)), shapes(result)), new)

    def _add(self, node: Node, tensors: list[Tensor]) -> None:
        """Take a node in, unless it goes on with a call of the same part or repeats one."""
        same = [one for one in self._nodes.values() if _plain(one.name) == node.name]
        known = [one for one in same if one.name in node.reads or one.reads == node.reads]
        name = f"{node.name} #{len(same) + 1}" if same else node.name
        if known:
            name = known[0].name
        self._nodes.setdefault(name, node._replace(name=name))
        for tensor in tensors:
            self._sources[memory_of(tensor)] = frozenset({name})

    def _names(self, sources: Sources) -> tuple[str, ...]:
        return tuple(name for name in self._nodes if name in sources)

    def _union(self, tensors: Any) -> Sources:
        return frozenset().union(*(self._sources.get(memory_of(x), frozenset()) for x in tensors))


def parts_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a model's direct children by name; one that it has under two names has both."""
    names: dict[int, list[str]] = {}
    for name, child in model.named_children():
        names[id(child)] = [n for n, other in model._modules.items() if other is child] or [name]
    for child in model.children():
        whole = " = ".join(names[id(child)])
        if isinstance(child, nn.ModuleDict | nn.ModuleList):  # which nobody calls
            yield from ((f"{whole}.{n}", one) for n, one in child.named_children())
        else:
            yield whole, child


def memory_of(tensor: Tensor) -> StorageWeakRef:
    """Return what tells a tensor's memory from all other, and is the same for its views.

    An address would not do: the next tensor takes that of one which is gone. While this reference
    is held no other memory equals it, and the memory itself is free to go.
    """
    return StorageWeakRef(tensor.untyped_storage())


def shapes(result: Any) -> str:
    """Say what a part gives.

    >>> import torch
    >>> shapes((torch.zeros(2, 3), torch.distributions.Normal(torch.zeros(2), 1)))
    '(2, 3), Normal (2,)'
    """
    if isinstance(result, Tensor):
        return str(tuple(result.shape))
    if isinstance(result, Distribution):
        base = getattr(result, "base_dist", result)
        kind = type(base if type(result).__name__ == "Independent" else result).__name__
        return f"{kind} {tuple(result.batch_shape + result.event_shape)}"
    if isinstance(result, list | tuple):
        return ", ".join(map(shapes, result))
    return type(result).__name__


def _plain(name: str) -> str:
    return name.partition(" #")[0]


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in values if isinstance(value, Tensor))


def _inner(value: Any, depth: int = 6) -> Iterator[Tensor]:
    """Yield the tensors in a value, be it a density or a tuple of densities."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _inner(list(value.values()), depth)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _inner(one, depth)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, nn.Module | type):
        yield from _inner(list(vars(value).values()), depth - 1)
