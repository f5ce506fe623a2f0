"""Checking data against the JSON schemas in ``benchmarks/schemas``, with errors that help."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from probseg.errors import ProbsegError
from probseg.options import did_you_mean, listing

SCHEMAS = Path(__file__).parent / "schemas"


class ChoiceError(ProbsegError, ValueError):
    """A name, a key or a value that the benchmark does not know."""


class Fault(NamedTuple):
    """What is wrong in a document, and where."""

    path: tuple[str | int, ...]  # keys of tables and places in arrays; of what is missing, where
    message: str
    missing: bool = False  # whether something should be there that is not

    def __str__(self) -> str:
        """Path and message in one line."""
        return f"{'.'.join(map(str, self.path)) or 'top level'}: {self.message}"


@cache
def schema(name: str) -> dict[str, Any]:
    """Return one of the schemas."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def check(data: object, against: Mapping[str, Any], *, where: str) -> None:
    """Check data against a schema and report the most telling fault in one line.

    Raises:
        ChoiceError: The data do not fit; the message names the key and the nearest valid one.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator(against).iter_errors(data))
    if error is not None:
        raise ChoiceError(f"{where}: {next(_faults(error))}")


def faults(data: object, against: Mapping[str, Any]) -> list[Fault]:
    """Return everything in which data do not fit a schema."""
    return [fault for error in _validator(against).iter_errors(data) for fault in _faults(error)]


def _validator(against: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: _is_finite(value),  # TOML has inf and nan, settings not
        }
    )
    return extend(Draft202012Validator, type_checker=types)(against)


def _is_finite(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _faults(error: Any) -> Iterator[Fault]:
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for extra in error.instance:
            if extra not in known:
                yield Fault((*path, extra), _unknown_key(extra, known))
    else:
        yield Fault(path, _explain(error), missing=error.validator == "required")


def _unknown_key(key: str, known: Iterable[str]) -> str:
    return f"unknown key {key!r}{did_you_mean(key, known)}; known: {listing(known)}"


def _explain(error: Any) -> str:
    if error.validator == "anyOf":
        kinds = [kind for one in error.validator_value for kind in _meant(one)]
        near = did_you_mean(error.instance, kinds)
        return f"it is {error.instance!r}{near}; it can be {', '.join(kinds)}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"there is no {', no '.join(missing)}"
    if error.validator == "type" and isinstance(error.validator_value, str):
        return f"{error.instance!r} is not {_TYPES[error.validator_value]}"
    if error.validator == "enum":
        near = did_you_mean(error.instance, list(map(str, error.validator_value)))
        return f"{error.instance!r} is none of {error.validator_value}{near}"
    return str(error.message)


_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a finite number",
    "object": "a table",
    "string": "a text",
}


def _meant(schema: Mapping[str, Any]) -> list[str]:
    if "enum" in schema:
        return list(map(str, schema["enum"]))
    return [schema.get("title") or _TYPES[schema["type"]]]


def choose(names: Iterable[str], known: Iterable[str], *, kind: str) -> tuple[str, ...]:
    """Return ``names`` without repetition after looking each up in ``known``.

    Raises:
        ChoiceError: A name is unknown; the message suggests the nearest one.
    """
    names, known = tuple(names), tuple(known)
    for name in names:
        if name not in known:
            raise ChoiceError(unknown(name, known, kind=kind))
    return tuple(dict.fromkeys(names))


def unknown(name: str, known: Iterable[str], *, kind: str) -> str:
    """Say that no ``kind`` has this name, which is the nearest, and which there are.

    >>> unknown("csea", ["punet", "csae"], kind="model")
    "no model is called 'csea'; did you mean 'csae'?; known: csae, punet"
    """
    known = list(known)
    return f"no {kind} is called {name!r}{did_you_mean(name, known)}; known: {listing(known)}"
