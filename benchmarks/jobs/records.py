"""Records: frozen dataclasses whose fields are the keys of a JSON object."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, cast, get_args, get_type_hints

from benchmarks.suite.settings import unknown_key
from probseg.errors import DataError
from probseg.options import fits, listing

Record = TypeVar("Record")


def from_json(kind: type[Record], data: object, *, where: str) -> Record:
    """Return a record, whose fields may be records, from a JSON object in a file, ``where``.

    Fields with a default may be missing.

    Raises:
        DataError: A key is unknown or missing, or a value is of another type.
    """
    described: dict[str, Field[Any]] = {f.name: f for f in fields(cast(Any, kind))}
    required = [name for name, field in described.items() if _has_no_default(field)]
    values = check_keys(data, described, required=required, where=where)
    types = get_type_hints(kind)
    for name, value in values.items():
        nested = _record_type(types[name])
        annotation = str(described[name].type)
        if nested is not None and isinstance(value, Mapping):
            values[name] = from_json(nested, value, where=f"{where}: {name}")
        elif not fits(value, annotation):
            raise DataError(f"{where}: {name} must be {annotation}, not {value!r}")
    return kind(**values)


def to_json(record: Any) -> dict[str, Any]:
    """Return a record as a JSON object, without optional fields that hold nothing."""
    values = {field: getattr(record, field.name) for field in fields(record)}
    return {
        field.name: to_json(value) if is_dataclass(value) else value
        for field, value in values.items()
        if value is not None or _has_no_default(field)
    }


def check_keys(
    data: object, known: Collection[str], *, required: Collection[str], where: str
) -> dict[str, Any]:
    """Return a JSON object whose keys are all known and of which none that is required is missing.

    Raises:
        DataError: It is no object, or its keys are others.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"{where} must be an object, not {data!r}")
    for key in data:
        if key not in known:
            raise DataError(f"{where}: {unknown_key(key, known)}")
    missing = [key for key in required if key not in data]
    if missing:
        raise DataError(f"{where} lacks {listing(missing)}")
    return dict(data)


def _has_no_default(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _record_type(annotation: Any) -> Any:
    """Return the dataclass that an annotation names, alone or in a union with None."""
    return next((kind for kind in (annotation, *get_args(annotation)) if is_dataclass(kind)), None)
