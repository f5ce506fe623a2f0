"""Random numbers as a function of (seed, purpose, step), so that a resumed run draws the same."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What random numbers are for; streams of different purposes are independent."""

    ORDER = 0  # of the images
    AUGMENTATION = 1  # and the choice of an annotator
    LATENT = 2  # samples inside the loss
    LAYERS = 3  # dropout and its like, which read the global generator
    VALIDATION = 4  # annotators and latent samples there, the same in each round


def derive_seed(seed: int, purpose: Purpose, step: int) -> int:
    """Mix the three numbers into one 63-bit seed."""
    mixed = np.random.SeedSequence((seed, purpose, step)).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(1))


def make_generator(
    seed: int, purpose: Purpose, step: int, *, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Make a generator on ``device`` that starts at the derived seed."""
    return torch.Generator(device).manual_seed(derive_seed(seed, purpose, step))
