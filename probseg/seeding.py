"""Randomness that follows a ``torch.Generator``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator


@contextmanager
def seeded(generator: Generator | None, device: torch.device) -> Iterator[None]:
    """Let everything random inside follow ``generator``, and leave the global state as it was.

    ``torch.distributions`` draws from the global state only, hence the detour: one number is
    drawn from the generator and seeds a fork of the global state. Nothing is done for ``None``.
    """
    if generator is None:
        yield
        return
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would reach all devices
        for accelerator in devices:
            _seed_accelerator(accelerator, int(seed))
        yield


def _seed_accelerator(device: torch.device, seed: int) -> None:
    module = torch.get_device_module(device)
    with module.device(device):
        module.manual_seed(seed)
