"""Suite files: found by name, read, and laid over the suite that they extend."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.suite.checks import KeyPath, Problem
from probseg.errors import OptionError
from probseg.options import unknown

DEFAULT_SUITE = Path(__file__).parent / "suite.toml"
ABLATIONS = Path(__file__).parent / "ablations"


def suites() -> dict[str, Path]:
    """Return the suites that come with the benchmark by name, the main one first."""
    return {path.stem: path for path in (DEFAULT_SUITE, *sorted(ABLATIONS.glob("*.toml")))}


def find(name: str, *, beside: Path = Path()) -> Path:
    """Return the file of a suite from its name, or from the path of a TOML file.

    Raises:
        OptionError: No suite has that name.
    """
    if name.endswith(".toml"):
        return beside / Path(name).expanduser()
    if name not in suites():
        raise OptionError(unknown("suite", name, suites()) + "; or give the path of a .toml")
    return suites()[name]


@dataclass(frozen=True)
class SuiteFile:
    """A suite file and the one that it extends."""

    path: Path
    data: Mapping[str, Any]
    base: SuiteFile | None = None

    @cached_property
    def merged(self) -> dict[str, Any]:
        """The content of this file, laid over that of the files below it."""
        own = {key: value for key, value in self.data.items() if key != "extends"}
        return lay_over(self.base.merged, own) if self.base else own

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Report the problems of the merged suite, if there are any.

        Raises:
            OptionError: There are; the message has one line for each, with its file.
        """
        lines = [f"{self._file_with(path)}: {message}" for path, message in problems]
        if lines:
            raise OptionError("\n".join(dict.fromkeys(lines)))

    def _file_with(self, path: KeyPath) -> Path:
        """Return this file, or else the first one below it, that has a value at a key path."""
        if self.base is None or _has(self.data, path):
            return self.path
        return self.base._file_with(path)


def _has(data: Any, path: KeyPath) -> bool:
    for key in path:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def read_file(path: Path, *, above: tuple[Path, ...] = ()) -> SuiteFile:
    """Read a suite file and the files below it.

    Raises:
        OptionError: One is missing or is no TOML, or files extend each other in a circle.
    """
    if path.resolve() in above:
        through = "".join(f" through {file.name}" for file in above[1:])
        raise OptionError(f"{path} extends itself{through}")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the suite {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    if "extends" not in data:
        return SuiteFile(path, data)
    try:
        if not isinstance(data["extends"], str):
            raise OptionError(f"must be a text, not {data['extends']!r}")
        below = find(data["extends"], beside=path.parent)
    except OptionError as error:
        raise OptionError(f"{path}: extends: {error}") from error
    return SuiteFile(path, data, read_file(below, above=(*above, path.resolve())))


def lay_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``own`` laid over ``base``: tables are merged, everything else is replaced.

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
