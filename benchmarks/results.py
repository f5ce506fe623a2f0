"""Results: one JSON a cell, checked against a schema whenever it is read."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell
from benchmarks.validation import ChoiceError, check, schema
from probseg.errors import DataError
from probseg.files import write_json

SCHEMA_VERSION = 1
Result = dict[str, Any]


class ResultError(DataError):
    """A result that is truncated, of another schema or at odds with itself."""


def result_path(cell: Cell, out: Path) -> Path:
    """Return where the result of a cell is kept."""
    return cell.folder(out) / "result.json"


def read_result(path: Path) -> Result:
    """Read and check a result, which may be gzipped.

    Raises:
        ResultError: It is no JSON, has another schema, or its parts do not fit together.
    """
    try:
        data = json.loads(_text(path))
    except (OSError, EOFError, ValueError) as error:
        raise ResultError(f"cannot read the result {path}: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA_VERSION:
        raise ResultError(f"{path} has schema {found!r}, this code reads {SCHEMA_VERSION}")
    try:
        check(data, schema("result"), where=str(path))
    except ChoiceError as error:
        raise ResultError(str(error)) from error
    _consistent(data, path)
    return dict(data)


def _text(path: Path) -> str:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    return path.read_text(encoding="utf-8")


def _consistent(data: Result, path: Path) -> None:
    if Cell(data["config"]).key != data["key"]:
        raise ResultError(f"{path}: the key {data['key']} is not that of its config")
    images = len(data["images"]["index"])
    lengths = {len(v) for variant in data["scores"].values() for v in variant.values()}
    if lengths - {images} or len(data["images"]["group"]) != images:
        raise ResultError(f"{path}: scores and groups are not one per image ({images} images)")


def write_result(path: Path, result: Mapping[str, Any]) -> Result:
    """Check a result, write it whole or not at all, and return what was written.

    Raises:
        WriteError: The disk is full or read-only.
    """
    plain: Result = finite(result)
    check(plain, schema("result"), where=str(path))
    write_json(path, plain)
    return plain


def finite(value: Any) -> Any:
    """Return plain data in which NaN and infinity, which JSON lacks, are null."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are defined.

    >>> mean([1.0, None, 2.0])
    1.5
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(known) / len(known) if known else None


def means(scores: Mapping[str, Mapping[str, Sequence[float | None]]]) -> dict[str, Any]:
    """Return variant to metric to the mean over images."""
    return {
        variant: {name: mean(values) for name, values in metrics.items()}
        for variant, metrics in scores.items()
    }


def finished(cell: Cell, out: Path) -> Result | None:
    """Return the result of a cell that is done, or nothing.

    A file that cannot be read as a result of this schema is set aside, never mixed in.
    """
    path = result_path(cell, out)
    if not path.exists():
        return None
    try:
        result = read_result(path)
    except ResultError:
        path.replace(path.with_suffix(".unreadable"))
        return None
    return result if result["status"] == "finished" else None
