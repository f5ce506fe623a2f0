"""Data sets of the tests of training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves the folder out

from training_toys import Discs


@pytest.fixture
def train() -> Discs:
    return Discs(22)


@pytest.fixture
def validation() -> Discs:
    return Discs(6, seed=1)
