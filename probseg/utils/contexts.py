"""Contexts: libraries silenced, and modules in evaluation mode, for the length of a block."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from probseg.errors import InputError


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


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what the block does to a model's buffers, such as statistics of batch normalisation.

    They change in training mode only.
    """
    training = any(module.training for module in model.modules())
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if training else []
    try:
        yield
    finally:
        for buffer, before in buffers:
            buffer.data.copy_(before)  # data, for a loss that is yet to be differentiated


@contextmanager
def normalisation_errors() -> Iterator[None]:
    """Raise torch's error for a normalisation over a single value with what can be done.

    Raises:
        InputError: A normalisation has one value only.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1"):
            raise
        pixel = "a normalisation of the networks has one value only: the image shrank to one pixel"
        others = "larger images, fewer levels (channels), norm=None, or another architecture"
        if "value per channel" in str(error):
            raise InputError(
                f"{pixel} in a batch of one; use a larger batch (in fit both batch_size and "
                f"micro_batch must be 2 or more), model.eval(), {others}"
            ) from error
        raise InputError(f"{pixel}; use {others}") from error


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[nn.Module]:
    """Yield a model without the wrappers of ``torch.compile``, which rename all weights."""
    owners = [(owner, name, child) for owner in model.modules() for name, child in _compiled(owner)]
    for owner, name, child in owners:
        setattr(owner, name, _original(child))
    try:
        yield _original(model)
    finally:
        for owner, name, child in owners:
            setattr(owner, name, child)


def _compiled(owner: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in owner._modules.items():  # named_children leaves out what has two names
        if child is not None and name != "_orig_mod" and _original(child) is not child:
            yield name, child


def _original(module: nn.Module) -> nn.Module:
    original: nn.Module = getattr(module, "_orig_mod", module)
    return original
