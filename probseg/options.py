"""Whether a value is what a parameter's annotation says, as far as plain types go."""

from __future__ import annotations

import inspect
from typing import Any

_PLAIN: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "None": (type(None),),
}
_SEQUENCES = ("Sequence", "list", "tuple")


def annotation_of(parameter: inspect.Parameter) -> str:
    """Return a parameter's annotation as its source has it, or an empty string."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def fits(value: Any, annotation: str) -> bool:
    """Return whether ``value`` is of a type that the annotation names.

    Numbers, strings, ``None``, sequences of them and unions are understood; anything fits an
    annotation of another kind. ``True`` is no number.

    >>> fits([32, 64], "Sequence[int]"), fits("32", "Sequence[int]"), fits(None, "str | None")
    (True, False, True)
    """
    return any(_fits_one(value, one.strip()) for one in annotation.split("|"))


def _fits_one(value: Any, annotation: str) -> bool:
    container, _, item = annotation.removesuffix("]").partition("[")
    if container.rpartition(".")[2] in _SEQUENCES:
        items = item.removesuffix(", ...")
        return isinstance(value, (list, tuple)) and all(fits(one, items) for one in value)
    if annotation not in _PLAIN:
        return True
    return isinstance(value, _PLAIN[annotation]) and (
        annotation == "bool" or not isinstance(value, bool)
    )
