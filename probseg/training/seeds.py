"""Random numbers as a function of (seed, purpose, step), so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What random numbers are for; streams of different purposes are independent."""

    ORDER = 0  # of the images
    STEP = 1  # which annotator, augmentation
    MODEL = 2  # latent samples, dropout
    VALIDATION = 3  # which annotator, the same in each round
    VALIDATION_MODEL = 4  # latent samples, the same in each round


def derive_seed(seed: int, purpose: Purpose, step: int, place: int = 0) -> int:
    """Mix the numbers into one of 63 bits."""
    numbers = (seed, purpose, step, place) if place else (seed, purpose, step)
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(1))


def make_generator(seed: int, purpose: Purpose, step: int) -> torch.Generator:
    """Make a generator on the CPU that starts at the derived seed."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, step))


def seed_globally(seed: int, purpose: Purpose, step: int, place: int = 0) -> None:
    """Set torch's global generators on every device, from which distributions and layers draw.

    Args:
        seed: Of the run.
        purpose: What the numbers are for.
        step: Which step, or which batch.
        place: The first image, of a batch that is not taken as a whole.
    """
    torch.manual_seed(derive_seed(seed, purpose, step, place))


@contextmanager
def preserved_state(device: torch.device) -> Iterator[None]:
    """Give torch's global generators back to the caller as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield
