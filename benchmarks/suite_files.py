"""Suite files: found by name, read, and laid over the suite that they extend."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.toml_lines import has, line_of
from benchmarks.validation import ChoiceError, Fault, faults, schema, unknown

DEFAULT_SUITE = Path(__file__).parent / "suite.toml"
ABLATIONS = Path(__file__).parent / "suites"


def suites() -> dict[str, Path]:
    """Return the suites that come with the benchmark by name, the main one first."""
    return {path.stem: path for path in (DEFAULT_SUITE, *sorted(ABLATIONS.glob("*.toml")))}


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

    def faults(self) -> list[str]:
        """Return everything that a schema can find wrong, one line each."""
        known = schema("suite")
        own = [
            file.tell(fault)
            for file in self._chain()
            for fault in faults(file.data, known)
            if not fault.missing  # what one file lacks, another may say
        ]
        return own or [self.tell(fault) for fault in faults(self.merged, known)]

    def tell(self, fault: Fault) -> str:
        """Return a fault with the file and the line it is on."""
        for file in self._chain() if fault.path else ():
            if has(file.data, fault.path):
                return f"{file.path}, line {line_of(file.text, fault.path)}: {fault}"
        return f"{self.path}: {fault}"

    def _chain(self) -> Iterator[SuiteFile]:
        yield self
        yield from self.base._chain() if self.base else ()


def load(path: Path, *, above: tuple[Path, ...] = ()) -> SuiteFile:
    """Read a suite file and the files below it.

    Raises:
        ChoiceError: One is missing or is no TOML, or files extend each other in a circle.
    """
    if path.resolve() in above:
        raise ChoiceError(f"{path} extends itself, over {len(above) - 1} other files")
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ChoiceError(f"cannot read the suite {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ChoiceError(f"{path} is no TOML: {error}") from error
    return SuiteFile(path, text, data, _below(path, data, (*above, path.resolve())))


def _below(path: Path, data: Mapping[str, Any], above: tuple[Path, ...]) -> SuiteFile | None:
    name = data.get("extends")
    if not isinstance(name, str):  # of a wrong type, it is told with the other faults
        return None
    return load(find(name, beside=path.parent), above=above)


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
