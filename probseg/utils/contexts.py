"""Contexts: libraries silenced, and modules in evaluation mode, for the length of a block."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def silenced(loggers: Sequence[str], hints: Sequence[str]) -> Iterator[None]:
    """Keep loggers to their errors, and ignore warnings that match one of the patterns."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for hint in hints:
                warnings.filterwarnings("ignore", message=hint)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and at the end each of its modules into its former mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
