"""The help of a model whose options are the fields of a record of choices."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from probseg.errors import OptionError
from probseg.options import listing

_WEIGHED = {"beta": ("kl", "kl_on"), "gamma": ("divergence", "divergence_on")}


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


def check_weighed(model: str, options: Mapping[str, Any], defaults: Any) -> None:
    """Check that a divergence somebody chose has a weight, and so an effect.

    Args:
        model: Its name.
        options: What was chosen.
        defaults: The record of what was not, as for :func:`help_of`.

    Raises:
        OptionError: The weight is zero by default, and nobody gave it.
    """
    for weight, of_divergence in _WEIGHED.items():
        default = getattr(defaults, weight)
        weighed = any(default) if isinstance(default, (list, tuple)) else default
        chosen = [option for option in of_divergence if options.get(option) is not None]
        if chosen and not weighed and weight not in options:
            raise OptionError(
                f"{listing(chosen)} of {model} would not be used, since the weight is {weight}=0; "
                f"pass {weight} too"
            )
