"""Descriptions of models as plain data in files: format, versions and limits.

A description is a mapping with ``format`` (``"probseg-2"``), ``probseg`` (the version that wrote
it), ``spec`` (``build(**spec)`` gives the architecture), ``requires`` (the parts that other
packages offer) and perhaps ``preprocessing`` (what was done to the images that it learnt from). A
checkpoint carries it as metadata, a folder also as ``config.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import CheckpointError, DataError, MissingPluginError, OptionError
from probseg.registry import KINDS, PARTS, in_words, registry
from probseg.registry.specs import Spec

VERSION = 2  # raise it with a line in _MIGRATIONS, and freeze a file of the old one in the tests
MAX_BYTES = 2**16  # of a description; those of the largest models have some thousand
MAX_DEPTH = 32
MAX_TEXT = 1000  # characters of a name or an option, which errors repeat

_FORMAT = re.compile(r"probseg-([1-9][0-9]{0,5})", re.ASCII)
_AS_TEXT = ("spec", "requires")  # a safetensors file's metadata are texts only
PREPROCESSING = "preprocessing"  # another text, which files may lack and older versions ignore
_KEYS = KINDS | PARTS  # of a description, under which a part stands
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,99}", re.ASCII)  # names, versions of packages

Document = dict[str, Any]


class Requirement(NamedTuple):
    """A part that probseg does not ship."""

    kind: str  # "projector"
    name: str  # "radial"
    distribution: str | None  # that offers it; None where a process registered it by itself
    version: str | None

    @classmethod
    def parsed(cls, entry: Any, file: Path) -> Requirement:
        """Return the requirement that a file holds as plain data.

        Raises:
            CheckpointError: It is damaged.
        """
        if isinstance(entry, dict) and entry.keys() == set(cls._fields):
            requirement = cls(**entry)
            package = (requirement.distribution, requirement.version)
            safe = all(p is None or (isinstance(p, str) and _SAFE.fullmatch(p)) for p in package)
            if safe and requirement.kind in KINDS and isinstance(requirement.name, str):
                return requirement
        raise CheckpointError(f"the description in {file} is damaged: {entry!r} in requires")


class Description(NamedTuple):
    """The spec of a model, the plugins it requires, the version that wrote it, and its images."""

    spec: Spec
    requires: tuple[Requirement, ...]
    probseg: str | None  # the version that wrote it, if it says so
    preprocessing: Preprocessing | None = None  # of the images that it learnt from, if known

    def document(self) -> Document:
        """Return it as plain data."""
        known = {PREPROCESSING: self.preprocessing.to_plain()} if self.preprocessing else {}
        return {
            "format": f"probseg-{VERSION}",
            "probseg": self.probseg,
            "spec": self.spec,
            "requires": [requirement._asdict() for requirement in self.requires],
            **known,
        }

    def metadata(self) -> dict[str, str]:
        """Return it as texts."""
        document = self.document()
        texts = [key for key in (*_AS_TEXT, PREPROCESSING) if key in document]
        return {**document, **{key: json.dumps(document[key]) for key in texts}}


def from_document(document: Document, file: Path) -> Description:
    """Return the description that a file holds as plain data, or as texts (``metadata``).

    Raises:
        CheckpointError: It is none of ours, damaged or of a newer version.
    """
    version = _format_version(document, file)
    for key in (*_AS_TEXT, PREPROCESSING):
        if isinstance(document.get(key), str):
            document = {**document, key: parsed(document[key], file)}
    for older in range(version, VERSION):
        document = _MIGRATIONS[older](document)
    if missing := [key for key in _AS_TEXT if key not in document]:
        raise CheckpointError(f"the description in {file} is damaged: it has no {missing[0]!r}")
    spec, requires = document["spec"], document["requires"]
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise CheckpointError(f"the description in {file} names no model")
    if not isinstance(requires, list):
        raise CheckpointError(f"the description in {file} is damaged: requires is no list")
    written_by = document.get("probseg")
    return Description(
        spec,
        tuple(Requirement.parsed(entry, file) for entry in requires),
        written_by if isinstance(written_by, str) else None,
        _preprocessing(document, file),
    )


def _preprocessing(document: Document, file: Path) -> Preprocessing | None:
    if PREPROCESSING not in document:
        return None
    try:
        return Preprocessing.from_plain(document[PREPROCESSING])
    except (DataError, OptionError) as error:
        raise CheckpointError(f"the description in {file} cannot be read: {error}") from error


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
    return from_document(document, file)


def requirements(spec: Spec) -> tuple[Requirement, ...]:
    """Return the parts of a spec that probseg itself does not provide."""
    named = dict.fromkeys([("model", spec["name"]), *_named(spec)])
    return tuple(found for kind, name in named if (found := _requirement(kind, name)))


def check_installed(requires: Iterable[Requirement], file: Path) -> None:
    """Check that every required part is registered or installed.

    Raises:
        MissingPluginError: A part is missing; the message names its package.
    """
    for kind, name, distribution, version in requires:
        if name in registry(KINDS[kind]):
            continue
        needs = f"the model in {file} needs the {in_words(kind)} {name!r}"
        if distribution is None:
            raise MissingPluginError(
                f"{needs}, which its author's program registered; register it before loading, "
                f"with probseg.{KINDS[kind]}.register"
            )
        exact = f"{distribution}=={version}" if version else distribution
        raise MissingPluginError(
            f"{needs} of the package {distribution}, which is not installed: "
            f"pip install '{exact}' (the file gives this name; find out whose package it is first)"
        )


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


def _check_extent(value: Any, file: Path, depth: int = 0) -> None:
    if depth == MAX_DEPTH:
        raise _too_deep(file)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise CheckpointError(
            f"the description in {file} has a text of more than {MAX_TEXT} characters"
        )
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for item in value if isinstance(value, list) else ():
        _check_extent(item, file, depth + 1)


def _too_deep(file: Path) -> CheckpointError:
    return CheckpointError(f"the description in {file} is nested more than {MAX_DEPTH} deep")


def _format_version(document: Document, file: Path) -> int:
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


def _named(spec: Mapping[str, Any], kind: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each part; the nearest key above it that is a kind gives its kind."""
    for key, value in spec.items():
        if isinstance(value, Mapping):
            under = registry(_KEYS[key]).kind if key in _KEYS else kind
            if under and isinstance(value.get("name"), str):
                yield under, value["name"]
            yield from _named(value, under)


def _requirement(kind: str, name: str) -> Requirement | None:
    parts = registry(KINDS[kind])
    offers = parts.offers().get(name)
    if not offers:
        return Requirement(kind, name, None, None) if name in parts else None
    entry, source = offers[0]
    if source == "probseg":
        return None
    if entry.distro is None:
        return Requirement(kind, name, None, None)
    package = re.sub(r"[-_.]+", "-", entry.distro.name).lower()  # as package indices compare names
    return Requirement(kind, name, package, entry.distro.version)


# Each takes a document of its version to the next one.
_MIGRATIONS: dict[int, Callable[[Document], Document]] = {
    1: lambda document: {"requires": [], **document},  # it did not record who offers the parts
}
