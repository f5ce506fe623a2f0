"""Records: frozen dataclasses whose fields are the keys of a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from probseg.errors import DataError
from probseg.options import did_you_mean, fits, listing

Record = TypeVar("Record")


def from_json(kind: type[Record], data: object, *, where: str) -> Record:
    """Return a record from a JSON object; fields with a default may be missing.

    Args:
        kind: A dataclass.
        data: What JSON holds.
        where: File and key path, for error messages.

    Raises:
        DataError: A key is unknown or missing, or a value is of another type.
    """
    described: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    values = check_keys(data, described, where=where, required=_required(described))
    for name, value in values.items():
        annotation = str(described[name].type)
        if not fits(value, annotation):
            raise DataError(f"{where}: {name} must be {annotation}, not {value!r}")
    return kind(**values)


def _required(described: Mapping[str, Field[Any]]) -> list[str]:
    return [name for name, field in described.items() if _has_no_default(field)]


def _has_no_default(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def check_keys(
    data: object, known: Mapping[str, object] | tuple[str, ...], *, where: str, required: Any = None
) -> dict[str, Any]:
    """Return a JSON object whose keys are all known and of which none that is required is missing.

    Args:
        data: What JSON holds.
        known: The keys that there may be.
        where: File and key path, for error messages.
        required: The keys that there must be; by default all known ones.

    Raises:
        DataError: It is no object, or its keys are others.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"{where} must be an object, not {data!r}")
    for key in data:
        if key not in known:
            hint = did_you_mean(key, known) or ";"
            raise DataError(f"{where}: unknown key {key!r}{hint} Known: {listing(known)}")
    missing = [key for key in (known if required is None else required) if key not in data]
    if missing:
        raise DataError(f"{where} lacks {listing(missing)}")
    return dict(data)


def to_json(record: Any) -> dict[str, Any]:
    """Return a record as a JSON object, without optional fields that hold nothing."""
    values = {field: getattr(record, field.name) for field in fields(record)}
    return {f.name: v for f, v in values.items() if v is not None or _has_no_default(f)}
