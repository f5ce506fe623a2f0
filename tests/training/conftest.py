"""Data sets of the tests of training."""

from __future__ import annotations

import pytest
from training_toys import Discs


@pytest.fixture
def train() -> Discs:
    return Discs(22)


@pytest.fixture
def validation() -> Discs:
    return Discs(6, seed=1)
