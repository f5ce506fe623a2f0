"""The same settings give the same run: random numbers by step, and deterministic algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic


class Purpose(IntEnum):
    """What random numbers are for; streams of different purposes are independent."""

    ORDER = 0  # of the images
    STEP = 1  # which annotator, augmentation
    MODEL = 2  # latent samples, dropout
    VALIDATION = 3  # which annotator, the same in each validation round
    VALIDATION_MODEL = 4  # latent samples, the same in each validation round


def derive_seed(seed: int, purpose: Purpose, step: int, image: int = 0) -> int:
    """Return a seed of 63 bits that is a function of these numbers alone.

    Args:
        seed: Of the run.
        purpose: What the random numbers are for.
        step: Number of the step, or of the batch.
        image: Index in the batch of the first image that the numbers are for.
    """
    numbers = (seed, purpose, step, image) if image else (seed, purpose, step)
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(1))


def make_generator(seed: int, purpose: Purpose, step: int) -> torch.Generator:
    """Return a generator on the CPU that starts at the derived seed."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, step))


def seed_globally(seed: int, purpose: Purpose, step: int, image: int = 0) -> None:
    """Seed torch's global generators, from which distributions and layers draw on every device."""
    torch.manual_seed(derive_seed(seed, purpose, step, image))


@contextmanager
def preserved_random_state(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators at the end to the state that they had."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


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
