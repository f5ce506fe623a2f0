"""Randomness that follows a ``torch.Generator``, and leaves everybody else's alone."""

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
    """Let everything random inside, in this thread, be drawn from ``generator``.

    Whoever draws need not know of it: ``torch.distributions``, which takes no generator, follows
    it as well as a plugin's density or a dropout. The process-wide random state is neither used
    nor touched, so threads with a generator each get what each would get alone. A generator on
    the CPU draws there whatever the device is, so the same noise for each.

    The few operations that torch gives no generator (dropout on a GPU) are run one at a time from
    a fork of the device's random state, which another thread that draws without a generator at
    that moment would see. Every operation inside costs some microseconds more, and compiled
    networks may run uncompiled: put the drawing inside and the networks outside. What the backward
    pass computes once more (``torch.utils.checkpoint``) draws other numbers there, for this is over
    by then. Nothing is done for ``None``.

    Args:
        generator: On the CPU or on ``device``.
        device: Where the numbers are wanted.

    Raises:
        InputError: The generator is on another device.
    """
    if generator is None:
        yield
        return
    if generator.device.type not in ("cpu", device.type):
        raise InputError(
            f"the generator is on {generator.device} and the model on {device}; make it with "
            f"torch.Generator({str(device)!r}), or torch.Generator() for any device"
        )
    with _Drawing(generator):
        yield


class _Drawing(TorchDispatchMode):
    """Gives a generator to every operation that draws random numbers and was given none."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self._generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Arguments = (), kwargs: Keywords | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = any(isinstance(argument, Generator) for argument in (*args, *kwargs.values()))
        if given or torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        taking = _taking_generator(func)
        if taking is None:
            return _forked(func, args, kwargs, self._generator)
        if _device(args, kwargs).type == self._generator.device.type:
            return taking(*args, **{**kwargs, "generator": self._generator})
        if self._generator.device.type != "cpu":  # what is wanted on the CPU, beside a GPU
            return _forked(func, args, kwargs, self._generator)
        return _brought(taking, args, kwargs, self._generator)


@cache
def _taking_generator(func: Any) -> Any | None:
    """Return the operation's overload that takes a generator besides, if there is one."""
    names = _names(func)
    packet = func.overloadpacket
    overloads = [func, *(getattr(packet, name) for name in packet.overloads())]
    return next((op for op in overloads if _names(op) == names | {"generator"}), None)


def _names(func: Any) -> set[str]:
    return {argument.name for argument in func._schema.arguments}


def _brought(func: Any, args: Arguments, kwargs: Keywords, generator: Generator) -> Any:
    """Draw on the CPU, where the generator is, what is wanted elsewhere, and bring it there."""
    device, fills = _device(args, kwargs), func._schema.name.endswith("_")
    first, *others = args
    if fills or func._schema.name.endswith("_like"):  # nobody waits for values that do not matter
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
    """Draw what takes no generator from the device's own state, seeded for as long as it lasts."""
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
    """Return where an operation's result is wanted."""
    asked: torch.device | None = kwargs.get("device")
    devices = (x.device for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
    return asked or next(devices, torch.device("cpu"))
