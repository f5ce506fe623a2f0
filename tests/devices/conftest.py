"""What runs on a device is small and comes from tests/helpers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves the folder out


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """Let GPUs multiply float32 as float32: TF32 keeps ten bits."""
    import torch

    with warnings.catch_warnings(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        warnings.simplefilter("ignore")  # some versions of torch call these settings old
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        yield
        torch.set_float32_matmul_precision(before)
