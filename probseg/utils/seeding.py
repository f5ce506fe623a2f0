"""Random numbers from a given ``torch.Generator``, without touching the global random state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from probseg.errors import InputError

Arguments = Sequence[Any]
Keywords = Mapping[str, Any]

_forking = RLock()  # a fork inside one: seeded() inside seeded()


@contextmanager
def seeded(generator: Generator | None, device: torch.device) -> Iterator[None]:
    """Draw all random numbers of the block, in this thread, from ``generator``.

    This holds for code that takes no generator as well: ``torch.distributions``, a plugin's
    density, dropout. The random state of the process is neither used nor changed, so threads do not
    disturb each other. A generator on the CPU gives the same numbers for every device.

    A few operations take no generator (dropout on a GPU). They run one at a time on a fork of the
    device's random state, which another thread that draws without a generator would see. Every
    operation of the block costs some microseconds more, and compiled networks may run uncompiled:
    keep networks outside. What ``torch.utils.checkpoint`` computes again in the backward pass draws
    other numbers, for the block has ended by then. With ``None``, nothing is changed.

    Raises:
        InputError: It is no generator, or on another device.
    """
    if generator is None:
        yield
        return
    check_generator(generator)
    if generator.device.type not in ("cpu", device.type):
        raise InputError(
            f"the generator is on {generator.device} and the model on {device}; make it with "
            f"torch.Generator({str(device)!r}), or torch.Generator() for any device"
        )
    with _Drawing(generator):
        yield


def check_generator(generator: object) -> None:
    """Check that random numbers can be drawn from a generator, or from the process's (``None``).

    Raises:
        InputError: It is neither; of a seed the message says how to make a generator.
    """
    if generator is None or isinstance(generator, Generator):
        return
    seed = generator if isinstance(generator, int) else 0
    raise InputError(
        f"the generator must be a torch.Generator or None, not {generator!r}; make one with "
        f"torch.Generator().manual_seed({seed})"
    )


class _Drawing(TorchDispatchMode):
    """Gives a generator to every operation that draws random numbers and was given none."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self._generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Arguments = (), kwargs: Keywords | None = None
    ) -> Any:
        kwargs = kwargs or {}
        has_own = any(isinstance(value, Generator) for value in (*args, *kwargs.values()))
        if has_own or torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        overload = _overload_with_generator(func)
        if overload is None:
            return _forked(func, args, kwargs, self._generator)
        if _device(args, kwargs).type == self._generator.device.type:
            return overload(*args, **{**kwargs, "generator": self._generator})
        if self._generator.device.type != "cpu":  # numbers on the CPU from a GPU's generator
            return _forked(func, args, kwargs, self._generator)
        return _drawn_on_cpu(overload, args, kwargs, self._generator)


@cache
def _overload_with_generator(func: Any) -> Any | None:
    """Return the overload of an operation that takes a generator too, or ``None``."""
    names = _names(func)
    packet = func.overloadpacket
    overloads = [func, *(getattr(packet, name) for name in packet.overloads())]
    return next((op for op in overloads if _names(op) == names | {"generator"}), None)


def _names(func: Any) -> set[str]:
    return {argument.name for argument in func._schema.arguments}


def _drawn_on_cpu(func: Any, args: Arguments, kwargs: Keywords, generator: Generator) -> Any:
    """Draw on the CPU, where the generator is, and copy the numbers to their device."""
    device, fills = _device(args, kwargs), func._schema.name.endswith("_")
    first, *others = args
    if fills or func._schema.name.endswith("_like"):  # the values do not matter: no copy
        args = [torch.empty_like(first, device="cpu"), *others]
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    on_cpu: Any = tree_map_only(Tensor, Tensor.cpu, (list(args), dict(kwargs)))
    drawn = func(*on_cpu[0], **{**on_cpu[1], "generator": generator})
    no_wait = device.type == "cuda"  # as in to_device
    if fills:
        return first.copy_(drawn, non_blocking=no_wait)
    if "out" in kwargs:
        return kwargs["out"].resize_(drawn.shape).copy_(drawn, non_blocking=no_wait)
    return drawn.to(device, non_blocking=no_wait)


def _forked(func: Any, args: Arguments, kwargs: Keywords, generator: Generator) -> Any:
    """Run an operation that takes no generator on a seeded fork of the device's state."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    device = _device(args, kwargs)
    fork = Generator(device).manual_seed(int(seed)).get_state()
    with _forking:
        before = _state(device)
        _set_state(device, fork)
        try:
            return func(*args, **kwargs)
        finally:
            _set_state(device, before)


def _state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    state: Tensor = torch.get_device_module(device).get_rng_state(device)
    return state


def _set_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)


def _device(args: Arguments, kwargs: Keywords) -> torch.device:
    """Return the device of an operation's result."""
    chosen: torch.device | None = kwargs.get("device")
    devices = (x.device for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
    return chosen or next(devices, torch.device("cpu"))
