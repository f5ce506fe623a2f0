"""The help of a model whose options are the fields of a record of choices."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any


def help_of(defaults: Any, summary: str) -> tuple[str, inspect.Signature]:
    """Return docstring and signature of what builds a model from a dataclass of choices.

    Args:
        defaults: The record, whose values are the signature's defaults, and whose class says in its
            docstring what each means.
        summary: The first sentence of the docstring.
    """
    record: Callable[..., Any] = type(defaults)
    _, _, options = str(inspect.getdoc(record)).partition("Args:")
    signature = inspect.signature(partial(record, **vars(defaults)))
    without_result = signature.replace(return_annotation=inspect.Signature.empty)
    return f"{summary}\n\nArgs:{options}", without_result
