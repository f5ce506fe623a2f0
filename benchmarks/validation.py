"""Checking data against the JSON schemas in ``benchmarks/schemas``, with errors that help."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from probseg.errors import ProbsegError, did_you_mean, listing

SCHEMAS = Path(__file__).parent / "schemas"


class ChoiceError(ProbsegError, ValueError):
    """A name, a key or a value that the benchmark does not know."""


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
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    fault = best_match(Draft202012Validator(against).iter_errors(data))
    if fault is not None:
        place = ".".join(map(str, fault.absolute_path)) or "top level"
        raise ChoiceError(f"{where}: {place}: {_explain(fault)}")


def _explain(fault: Any) -> str:
    if fault.validator == "additionalProperties":
        known = list(fault.schema.get("properties", ()))
        extra = next(key for key in fault.instance if key not in known)
        return f"unknown key {extra!r}{did_you_mean(extra, known)}; known: {listing(known)}"
    if fault.validator == "anyOf":
        kinds = [kind for one in fault.validator_value for kind in _meant(one)]
        near = did_you_mean(fault.instance, kinds)
        return f"it is {fault.instance!r}{near}; it can be {', '.join(kinds)}"
    return str(fault.message)


def _meant(schema: Mapping[str, Any]) -> list[str]:
    return list(map(str, schema.get("enum", [f"any {schema.get('type')}"])))


def choose(names: Iterable[str], known: Iterable[str], *, kind: str) -> tuple[str, ...]:
    """Return ``names`` without repetition after looking each up in ``known``.

    Raises:
        ChoiceError: A name is unknown; the message suggests the nearest one.
    """
    names, known = tuple(names), tuple(known)
    for name in names:
        if name not in known:
            raise ChoiceError(
                f"no {kind} is called {name!r}{did_you_mean(name, known)}; known: {listing(known)}"
            )
    return tuple(dict.fromkeys(names))
