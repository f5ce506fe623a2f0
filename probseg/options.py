"""Checks of the options that users give; messages name the nearest valid option."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from probseg.errors import OptionError

_PLAIN: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "None": (type(None),),
}
_SEQUENCES = ("Sequence", "list", "tuple")


def to_plain(value: Any) -> Any:
    """Return a number, truth value or text of NumPy as Python's own, and anything else as it is.

    >>> import numpy as np
    >>> to_plain(np.int64(3)), to_plain(np.True_), to_plain("planar")
    (3, True, 'planar')
    """
    return value.tolist() if is_numpy(value) and value.shape == () else value


def is_numpy(value: object) -> bool:
    """Return whether a value is a number or an array of NumPy, without importing it."""
    return type(value).__module__ == "numpy" and hasattr(value, "tolist")


def is_list(value: object, kind: type | tuple[type, ...], length: int | None = None) -> bool:
    """Return whether a value is a list of a type, of a length if one is given; bool is none."""
    items = value if isinstance(value, (list, tuple)) else None
    return (
        items is not None
        and length in (None, len(items))
        and all(isinstance(item, kind) and not isinstance(item, bool) for item in items)
    )


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string.

    >>> did_you_mean("plannar", ["identity", "planar"])
    "; did you mean 'planar'?"
    """
    nearest = get_close_matches(str(name).lower(), list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def listing(names: Iterable[str]) -> str:
    """Return the names in order, separated by commas, or ``"none"``.

    >>> listing(["planar", "identity"])
    'identity, planar'
    """
    return ", ".join(sorted(names)) or "none"


def an(noun: str) -> str:
    """Return a noun after its article; a class such as ``UNet`` begins as "you" does.

    >>> an("encoder"), an("projector"), an("UNet")
    ('an encoder', 'a projector', 'a UNet')
    """
    return f"{'an' if noun[:1].lower() in ('a', 'e', 'i', 'o') else 'a'} {noun}"


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the message for a name that is not among the known ones.

    >>> unknown("projector", "plannar", ["planar", "identity"])
    "no projector is called 'plannar'; did you mean 'planar'? Known: identity, planar"
    """
    names = list(known)
    hint = did_you_mean(name, names) or ";"
    return f"no {kind} is called {name!r}{hint} Known: {listing(names)}"


def check_choice(option: str, value: object, choices: Collection[object]) -> None:
    """Check that the value of an option is one of its choices.

    Raises:
        OptionError: It is not; the message names the nearest choice and all of them.
    """
    value = to_plain(value)
    # the type as well, since 1 == True; a string may be of a subclass
    kind = str if isinstance(value, str) else type(value)
    if not any(kind is type(choice) and value == choice for choice in choices):
        hint = did_you_mean(value, [choice for choice in choices if isinstance(choice, str)])
        shown = ", ".join(map(repr, choices))
        raise OptionError(f"{option} must be one of {shown}, not {value!r}{hint}")


def check_integer(option: str, value: Any, *, low: int = 1) -> int:
    """Return the value of an option that must be an integer of at least ``low``.

    Raises:
        OptionError: It is not.
    """
    number = to_plain(value)
    if not isinstance(number, int) or isinstance(number, bool) or number < low:
        raise OptionError(f"{option} must be an integer of at least {low}, not {value!r}")
    return number


def check_number(option: str, value: Any, *, positive: bool = True) -> float:
    """Return the value of an option that must be a positive finite number, or zero as well.

    Raises:
        OptionError: It is not.
    """
    number = to_plain(value)
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        if 0 < number < math.inf or (number == 0 and not positive):
            return number
    kind = "positive" if positive else "non-negative"
    raise OptionError(f"{option} must be a {kind} finite number, not {value!r}")


def check_options(
    constructor: Callable[..., Any], options: Mapping[str, Any], *, owner: str
) -> dict[str, Any]:
    """Check by its signature that ``constructor`` takes ``options``, and needs no others.

    Returns:
        The options, with NumPy's numbers and arrays as Python's where plain ones are asked for.

    Raises:
        OptionError: An option is unknown, of a type that its annotation excludes, or a required one
            is missing.
    """
    parameters = named_parameters(constructor)
    plain = {
        name: _as_annotated(value, annotation_of(parameters[name])) if name in parameters else value
        for name, value in options.items()
    }
    named = check_given(constructor, plain, owner=owner)
    missing = [n for n, p in named.items() if p.default is p.empty and n not in options]
    if missing:
        raise OptionError(f"{owner} needs {listing(missing)}")
    return plain


def check_given(
    constructor: Callable[..., Any], options: Mapping[str, Any], *, owner: str
) -> dict[str, inspect.Parameter]:
    """Check that ``constructor`` takes ``options``, perhaps with others; return its own by name.

    Raises:
        OptionError: An option is unknown or of a type that its annotation excludes.
    """
    parameters = named_parameters(constructor)
    named = {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    for option, value in options.items():
        if option in named:
            _check_type(value, named[option], owner)
        elif named.keys() == parameters.keys():
            raise OptionError(
                f"{owner} has no option {option!r}{did_you_mean(option, named)}; "
                f"it takes: {listing(named)}"
            )
    return named


def _as_annotated(value: Any, annotation: str) -> Any:
    """Return a value of NumPy as Python's own; an array only where a sequence is asked for."""
    plain = to_plain(value)
    if is_numpy(plain):
        containers = (one.strip().partition("[")[0] for one in annotation.split("|"))
        listed = any(one.rpartition(".")[2] in _SEQUENCES for one in containers)
        return plain.tolist() if listed else plain
    if type(plain) in (list, tuple):
        return type(plain)(to_plain(item) for item in plain)
    return plain


def named_parameters(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of ``constructor`` that can be given by name."""
    parameters = inspect.signature(constructor).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)
    }


def _check_type(value: Any, parameter: inspect.Parameter, owner: str) -> None:
    annotation = annotation_of(parameter)
    if not fits(value, annotation):
        raise OptionError(
            f"option {parameter.name!r} of {owner} must be {annotation}, not {value!r}"
        )


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
