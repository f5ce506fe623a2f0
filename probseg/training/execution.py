"""How a run computes: device, precision, memory, random numbers, deterministic algorithms."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.utils.deterministic

from probseg.training.settings import TrainingSettings
from probseg.utils.devices import choose_device

# Instructions that multiply bf16 matrices; without them oneDNN emulates bf16, slower than float32.
_FAST_ON_CPU = ("amx_bf16", "avx512_bf16")
_AMPERE = (8, 0)  # the first CUDA architecture whose tensor cores take bf16

# Parameters of glibc's mallopt (malloc.h), and where its own adaptation leaves them at most.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LARGEST_MMAP_THRESHOLD = 32 << 20
_USUAL_MMAPS = 65536


class Execution(NamedTuple):
    """Where and how to compute."""

    device: torch.device
    bf16: bool  # under autocast
    channels_last: bool


def choose_execution(settings: TrainingSettings) -> Execution:
    """Resolve every "auto" of the settings on this machine.

    Raises:
        OptionError: The device asked for is not on this machine.
    """
    device = choose_device(settings.device, settings.devices)
    fast = has_fast_bf16(device)
    bf16 = fast if settings.precision == "auto" else settings.precision == "bf16"
    # On CPUs it takes a third off a step in float32 too; on GPUs it needs tensor cores to pay.
    quicker = fast or device.type == "cpu"
    channels_last = quicker if settings.channels_last == "auto" else settings.channels_last
    return Execution(device, bf16, channels_last)


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether ``device`` multiplies bf16 in hardware, rather than by emulation."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native and torch.cuda.get_device_capability(device) >= _AMPERE
    if device.type != "cpu":
        return False
    # Before get_capabilities came, torch did not say publicly; float32 is right everywhere.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in _FAST_ON_CPU)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let glibc keep freed memory, and give it back to the system at the end.

    Every activation of a training step on a CPU is an allocation of megabytes. By default glibc
    maps each anew and unmaps it when it is freed, so that the kernel clears its pages at every
    step. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _USUAL_MMAPS)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        libc.malloc_trim(0)


class Purpose(IntEnum):
    """What random numbers are for; streams of different purposes are independent."""

    ORDER = 0  # of the images
    STEP = 1  # which annotator, augmentation
    MODEL = 2  # latent samples, dropout
    VALIDATION = 3  # which annotator, the same in each validation round
    VALIDATION_MODEL = 4  # latent samples, the same in each validation round


def derive_seed(seed: int, purpose: Purpose, step: int, image: int = 0) -> int:
    """Return a seed of 63 bits, a function of the run's seed and of what the numbers are for.

    ``step`` may be the number of a batch, and ``image`` is the first one's index in its batch.
    """
    numbers = (seed, purpose, step, image) if image else (seed, purpose, step)
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(1))


def make_generator(seed: int, purpose: Purpose, step: int) -> torch.Generator:
    """Return a generator on the CPU that starts at the derived seed."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, step))


@contextmanager
def deterministic(device: torch.device | str) -> Iterator[None]:
    """Let a CPU compute by algorithms that do not depend on how its threads are scheduled.

    Repeated runs on one machine with one number of threads and the same versions of the libraries
    are then equal to the bit. Other devices are left as they are: some of their algorithms have no
    such variant. Lightning's ``Trainer(deterministic=True)`` does not switch back at the end.
    """
    if torch.device(device).type != "cpu":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # what nobody reads need not be written
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        memory.fill_uninitialized_memory = before[1]
