"""The parts of a model that plugins provide, and whether those plugins are installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from probseg.errors import CheckpointError, MissingPluginError
from probseg.registry import KINDS, PARTS, Registry, registry
from probseg.registry.specs import Spec

_KEYS = KINDS | PARTS  # of a description, under which a part stands
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,99}", re.ASCII)  # names, versions of packages


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

    @property
    def parts(self) -> Registry:
        """The registry that would have the part."""
        return registry(KINDS[self.kind])

    def missing(self, file: Path) -> MissingPluginError:
        """Return the error for a missing part, which names the remedy."""
        needs = f"the model in {file} needs the {self.kind} {self.name!r}"
        if self.distribution is None:
            return MissingPluginError(
                f"{needs}, which its author's program registered; register it before loading, "
                f"with probseg.{KINDS[self.kind]}.register"
            )
        exact = f"{self.distribution}=={self.version}" if self.version else self.distribution
        return MissingPluginError(
            f"{needs} of the package {self.distribution}, which is not installed: "
            f"pip install '{exact}' (the file says so: see first whose package that is)"
        )


def requirements(spec: Spec) -> tuple[Requirement, ...]:
    """Return the parts of a spec that probseg itself does not provide."""
    requirements = {
        (kind, name): _requirement(kind, name)
        for kind, name in [("model", spec["name"]), *_named(spec)]
    }
    return tuple(requirement for requirement in requirements.values() if requirement)


def check_installed(requires: Iterable[Requirement], file: Path) -> None:
    """Check that every required part is registered or installed.

    Raises:
        MissingPluginError: A part is missing; the message names its package.
    """
    for requirement in requires:
        if requirement.name not in requirement.parts:
            raise requirement.missing(file)


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
    return Requirement(kind, name, _normalised(entry.distro.name), entry.distro.version)


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()  # as package indices compare names
