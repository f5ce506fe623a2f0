"""Results: one JSON a cell, checked against a schema and its own digest whenever it is read."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.execution.aside import set_aside
from benchmarks.jobs.cells import Cell
from benchmarks.suite.validation import ChoiceError, check, schema
from probseg.errors import DataError
from probseg.utils.atomic_files import write_json

SCHEMA_VERSION = (
    2  # raise it with the schema, and where a score of the same name means another thing
)
Result = dict[str, Any]


class ResultError(DataError):
    """A result that is damaged, of another schema, cell or data, or at odds with itself."""


def result_path(cell: Cell, out: Path) -> Path:
    """Return where the result of a cell is kept."""
    return cell.folder(out) / "result.json"


def read_result(path: Path) -> Result:
    """Read and check a result, which may be gzipped.

    Raises:
        ResultError: It is no JSON, has another schema, was altered, or its parts do not fit
            together.
    """
    try:
        data = json.loads(_text(path), parse_constant=_refuse)
    except (OSError, EOFError, ValueError, RecursionError) as error:
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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _consistent(data: Result, path: Path) -> None:
    if digest(data) != data["digest"]:
        raise ResultError(f"{path} was damaged or altered: its digest is not that of its content")
    if Cell(data["config"]).key != data["key"]:
        raise ResultError(f"{path}: the key {data['key']} is not that of its config")
    images = len(data["images"]["index"])
    lengths = {len(v) for variant in data["scores"].values() for v in variant.values()}
    if lengths - {images} or len(data["images"]["group"]) != images:
        raise ResultError(f"{path}: scores and groups are not one per image ({images} images)")


def digest(result: Mapping[str, Any]) -> str:
    """Return 64 hex digits that differ wherever a result does."""
    content = {key: value for key, value in result.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_result(path: Path, result: Mapping[str, Any]) -> Result:
    """Check a result, write it whole or not at all, and return it as a reader will see it.

    Raises:
        WriteError: The disk is full or read-only.
    """
    plain: Result = json.loads(json.dumps(finite(result)))
    plain["digest"] = digest(plain)
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


def finished(cell: Cell, out: Path, fingerprint: str | None = None) -> Result | None:
    """Return the result of a cell that is done, or nothing; nothing is changed.

    Args:
        cell: Whose result.
        out: Folder of the run.
        fingerprint: Of the data that the cell must have been done on; None takes any.
    """
    try:
        result = _own(cell, out, fingerprint)
    except ResultError:
        return None
    return result if result is not None and result["status"] == "finished" else None


def make_room(cell: Cell, out: Path, fingerprint: str) -> None:
    """Set aside what lies in the place of a cell's result and is none on these data."""
    path = result_path(cell, out)
    try:
        _own(cell, out, fingerprint)
    except _OtherDataError as error:
        set_aside(path, error)  # first, so that nobody finds it in the folder's new place
        set_aside(path.parent, error)
    except ResultError as error:
        set_aside(path, error)


class _OtherDataError(ResultError):
    """A sound result, on other data."""


def _own(cell: Cell, out: Path, fingerprint: str | None) -> Result | None:
    path = result_path(cell, out)
    if not path.exists():
        return None
    result = read_result(path)
    if result["key"] != cell.key:
        raise ResultError(f"{path} is of another cell, {result['key']}")
    made_on = (result["data"] or {}).get("fingerprint", fingerprint)  # a failure may name none
    if fingerprint is not None and made_on != fingerprint:
        raise _OtherDataError(f"{path} was made on other data, {made_on}, not {fingerprint}")
    return result
