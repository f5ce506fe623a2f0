"""Suite files: found by name, read, and laid over the suite that they extend."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.suite.toml_lines import KeyPath, has, line_of
from benchmarks.suite.validation import ChoiceError, Fault, faults, schema, unknown

DEFAULT_SUITE = Path(__file__).parent / "suite.toml"
ABLATIONS = Path(__file__).parent / "ablations"


def suites() -> dict[str, Path]:
    """Return the suites that come with the benchmark by name, the main one first."""
    ablations = {path.stem: path for path in sorted(ABLATIONS.glob("*.toml"))}
    return {"suite": DEFAULT_SUITE, **ablations}


def find(name: str, *, beside: Path = Path()) -> Path:
    """Return the file of a suite from its name, or from the path of a TOML file.

    Raises:
        ChoiceError: No suite has that name.
    """
    if name.endswith(".toml"):
        return beside / name
    if name not in suites():
        raise ChoiceError(unknown(name, suites(), kind="suite") + "; or give the path of a .toml")
    return suites()[name]


class Location(NamedTuple):
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        """What a person reads."""
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class SuiteFile:
    """A suite file and, below it, the one that it extends."""

    path: Path
    text: str
    data: Mapping[str, Any]
    base: SuiteFile | None = None

    @cached_property
    def merged(self) -> dict[str, Any]:
        """What this file says, laid over what the files below it say."""
        own = {key: value for key, value in self.data.items() if key != "extends"}
        return lay_over(self.base.merged, own) if self.base else own

    def check(self) -> None:
        """Check this file and those below it against the schema.

        Raises:
            ChoiceError: They do not fit; the message has one line a fault.
        """
        if self.base:
            self.base.check()
        found = faults(self.data, schema("suite"))
        self.refuse(fault for fault in found if not fault.missing)  # a file below may have it
        self.refuse(faults(self.merged, schema("suite")))

    def refuse(self, found: Iterable[Fault]) -> None:
        """Tell faults, if there are any, in the order of the lines that they are on.

        Raises:
            ChoiceError: There is a fault; the message has one line for each.
        """
        told = sorted((self.locate(fault.path), str(fault)) for fault in set(found))
        if told:
            raise ChoiceError("\n".join(f"{where}: {fault}" for where, fault in told))

    def locate(self, path: KeyPath) -> Location:
        """Return where this file, or else one below it, first says ``path``."""
        if self.base and not has(self.data, path):
            return self.base.locate(path)
        return Location(str(self.path), line_of(self.text, path) if path else 1)


def load(path: Path, *, above: tuple[Path, ...] = ()) -> SuiteFile:
    """Read a suite file and the files below it.

    Raises:
        ChoiceError: One is missing or is no TOML, or files extend each other in a circle.
    """
    if path.resolve() in above:
        through = "".join(f" through {file.name}" for file in above[1:])
        raise ChoiceError(f"{path} extends itself{through}")
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ChoiceError(f"cannot read the suite {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ChoiceError(f"{path} is no TOML: {error}") from error
    file = SuiteFile(path, text, data)
    below = _below(file)
    return replace(file, base=load(below, above=(*above, path.resolve()))) if below else file


def _below(file: SuiteFile) -> Path | None:
    name = file.data.get("extends")
    if not isinstance(name, str):  # of a wrong type, it is told with the other faults
        return None
    try:
        return find(name, beside=file.path.parent)
    except ChoiceError as error:
        raise ChoiceError(f"{file.locate(('extends',))}: extends: {error}") from error


def lay_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with what ``own`` says: tables are merged, all else is replaced.

    A table with a name is a part with its options, which belong together: it is replaced too.

    >>> lay_over({"beta": 1, "models": {"a": 1}}, {"models": {"b": 2}})
    {'beta': 1, 'models': {'a': 1, 'b': 2}}
    >>> lay_over({"backbone": {"name": "unet", "norm": "batch"}}, {"backbone": {"name": "fpn"}})
    {'backbone': {'name': 'fpn'}}
    """
    return {**base, **{key: _over(base.get(key), value) for key, value in own.items()}}


def _over(base: Any, own: Any) -> Any:
    both = isinstance(base, Mapping) and isinstance(own, Mapping)
    return lay_over(base, own) if both and "name" not in own else own
