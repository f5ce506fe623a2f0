"""Descriptions of models as plain data in files: format, versions and limits.

A description is a mapping with ``format`` (``"probseg-2"``), ``probseg`` (the version that wrote
it), ``spec`` (``build(**spec)`` gives the architecture) and ``requires`` (the parts that other
packages offer). A checkpoint carries it as metadata, a folder also as ``config.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from probseg.errors import CheckpointError
from probseg.registry.specs import Spec
from probseg.sharing.plugins import Requirement

VERSION = 2  # raise it with a line in _MIGRATIONS, and freeze a file of the old one in the tests
MAX_BYTES = 2**16  # of a description; those of the largest models have some thousand
MAX_DEPTH = 32
MAX_TEXT = 1000  # characters of a name or an option, which errors repeat

_FORMAT = re.compile(r"probseg-([1-9][0-9]{0,5})", re.ASCII)
_AS_TEXT = ("spec", "requires")  # a safetensors file's metadata are texts only

Document = dict[str, Any]


class Description(NamedTuple):
    """The spec of a model, the plugins it requires and the version that wrote it."""

    spec: Spec
    requires: tuple[Requirement, ...]
    probseg: str | None  # the version that wrote it, if it says so

    def document(self) -> Document:
        """Return it as plain data."""
        return {
            "format": f"probseg-{VERSION}",
            "probseg": self.probseg,
            "spec": self.spec,
            "requires": [requirement._asdict() for requirement in self.requires],
        }

    def metadata(self) -> dict[str, str]:
        """Return it as texts."""
        document = self.document()
        return {**document, **{key: json.dumps(document[key]) for key in _AS_TEXT}}


def from_metadata(metadata: Mapping[str, str], file: Path) -> Description:
    """Return the description in the metadata of a checkpoint.

    Raises:
        CheckpointError: There is none, or it is damaged or of a newer version.
    """
    document: Document = dict(metadata)
    _format_version(document, file)  # before texts of another program are parsed
    for key in _AS_TEXT:
        if key in document:
            document[key] = parsed(document[key], file)
    return _description(document, file)


def from_config(file: Path) -> Description:
    """Return the description in a ``config.json``.

    Raises:
        CheckpointError: There is none, or it is damaged or of a newer version.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1).decode()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    document = parsed(text, file)
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} holds no description of a model: it is no mapping")
    return _description(document, file)


def parsed(text: str, file: Path) -> Any:
    """Return the value of a JSON text of limited length and depth.

    Raises:
        CheckpointError: The text is too long, too deep, no JSON or no Unicode.
    """
    if len(text) > MAX_BYTES:
        raise CheckpointError(f"the description in {file} has more than {MAX_BYTES} characters")
    try:
        value = json.loads(text)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # JSON can spell half a character
    except RecursionError as error:
        raise _too_deep(file) from error
    except ValueError as error:
        raise CheckpointError(f"the description in {file} is damaged: {error}") from error
    _check_extent(value, file)
    return value


def _check_extent(value: Any, file: Path) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        texts = [text for text in level if isinstance(text, str)]
        if max(map(len, texts), default=0) > MAX_TEXT:
            raise CheckpointError(
                f"the description in {file} has a text of more than {MAX_TEXT} characters"
            )
        level = [item for nested in level for item in _inside(nested)]
    raise _too_deep(file)


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _too_deep(file: Path) -> CheckpointError:
    return CheckpointError(f"the description in {file} is nested more than {MAX_DEPTH} deep")


def _format_version(document: Document, file: Path) -> int:
    """Return the version of a document's format.

    Raises:
        CheckpointError: It is none of probseg's, or newer than this version.
    """
    written = document.get("format", "not given")
    match = _FORMAT.fullmatch(written) if isinstance(written, str) else None
    if not match:
        raise CheckpointError(
            f"{file} was not written by probseg: its format is {str(written)[:80]!r}, "
            f"not 'probseg-{VERSION}'"
        )
    if int(match[1]) > VERSION:
        raise CheckpointError(
            f"{file} is of a newer probseg: its format is {written!r}, and this version reads up "
            f"to 'probseg-{VERSION}'; update it with pip install --upgrade probseg"
        )
    return int(match[1])


def _description(document: Document, file: Path) -> Description:
    for version in range(_format_version(document, file), VERSION):
        document = _MIGRATIONS[version](document)
    try:
        spec, requires = document["spec"], document["requires"]
    except KeyError as error:
        raise CheckpointError(f"the description in {file} is damaged: it has no {error}") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise CheckpointError(f"the description in {file} names no model")
    if not isinstance(requires, list):
        raise CheckpointError(f"the description in {file} is damaged: requires is no list")
    written_by = document.get("probseg")
    return Description(
        spec,
        tuple(Requirement.parsed(entry, file) for entry in requires),
        written_by if isinstance(written_by, str) else None,
    )


def _without_requirements(document: Document) -> Document:
    """From 1, which did not record who offers the parts."""
    return {"requires": [], **document}


# Each takes a document of its version to the next one.
_MIGRATIONS: dict[int, Callable[[Document], Document]] = {1: _without_requirements}
