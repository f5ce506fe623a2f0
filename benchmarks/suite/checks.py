"""Checks of a suite: every problem with its key path, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import probseg
from benchmarks.suite.settings import FOLDS, MODEL, OF_PARTS, SETTINGS, unknown_key
from probseg.errors import OptionError
from probseg.options import check_choice, check_given, fits, unknown
from probseg.registry import PARTS, registry

KeyPath = tuple[str | int, ...]  # keys of tables, and indices of lists, from the top


class Problem(NamedTuple):
    """What is wrong in a suite."""

    path: KeyPath
    message: str  # with the path


Check = Callable[[KeyPath, Any], Iterator[Problem]]


def problems(suite: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with tables, values and names; no part is imported."""
    yield from _SUITE((), suite)


def row_problems(suite: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield where rows do not fit each other, of a suite without other problems."""
    rows = suite["models"]
    for kind in ("models", "baselines"):
        for index, name in enumerate(suite["all"][kind]):
            yield from _known("row of the suite", rows)(("all", kind, index), name)
    for profile, table in suite["profiles"].items():
        for name in table.get("models", ()):
            yield from _known("row of the suite", rows)(("profiles", profile, "models", name), name)
    for name, row in rows.items():
        yield from _row_problems(("models", name), row, rows)


def _row_problems(
    path: KeyPath, row: Mapping[str, Any], rows: Mapping[str, Any]
) -> Iterator[Problem]:
    if len({"build", "baseline", "like"} & row.keys()) != 1:
        yield _problem(path, "a row has one of: build (a model), baseline, like (another row)")
    like = row.get("like", "")
    if "like" in row and "build" not in rows.get(like, ()):
        built = [name for name, other in rows.items() if "build" in other]
        yield _problem((*path, "like"), unknown("row that builds a model", like, built))
        return  # what the row takes is unknown too
    takes = row.get("takes", rows.get(like, {}).get("takes", ()))
    for setting in row.get("settings", ()):
        if setting in MODEL and not {setting, *OF_PARTS.get(setting, ())} & set(takes):
            message = f"the row does not take {setting!r}, so this would change nothing"
            yield _problem((*path, "settings", setting), message)


def option_problems(suite: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield each option that no model, part or data set takes; this imports them."""
    rows = suite["models"]
    for name, options in suite.get("datasets", {}).items():
        yield from _option_problems(("datasets", name), probseg.datasets[name], options)
    for name, row in rows.items():
        if options := row.get("options"):
            model = probseg.models[rows[row.get("like", name)]["build"]]
            yield from _option_problems(("models", name, "options"), model, options)
    for path, table in _tables_with_parts(suite):
        for key, part in table.items():
            if key in PARTS and isinstance(part, Mapping) and "name" in part:
                options = {option: value for option, value in part.items() if option != "name"}
                constructor = registry(PARTS[key])[part["name"]]
                yield from _option_problems((*path, key), constructor, options)


def _tables_with_parts(suite: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Yield the settings of profiles and rows, and the options of rows."""
    for name, row in suite["models"].items():
        for key in ("settings", "options"):
            yield ("models", name, key), row.get(key, {})
    for name, profile in suite["profiles"].items():
        yield ("profiles", name, "settings"), profile["settings"]
        for kind in ("models", "datasets"):
            for key, table in profile.get(kind, {}).items():
                yield ("profiles", name, kind, key), table


def _option_problems(
    path: KeyPath, constructor: Callable[..., Any], options: Mapping[str, Any]
) -> Iterator[Problem]:
    for option, value in options.items():
        try:
            check_given(constructor, {option: value}, owner=str(path[-1]))
        except OptionError as error:
            yield _problem((*path, option), str(error))


def _problem(path: KeyPath, message: str) -> Problem:
    return Problem(path, f"{_dotted(path)}: {message}")


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path)) or "top level"


# Checks of what a suite may hold: each of a value at a path.


def _value(check: Callable[[str, Any], object]) -> Check:
    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        try:
            check(_dotted(path), value)
        except OptionError as error:
            yield Problem(path, str(error))

    return problems


def _is(annotation: str, words: str) -> Check:
    def check(option: str, value: object) -> None:
        if not fits(value, annotation):
            raise OptionError(f"{option} must be {words}, not {value!r}")

    return _value(check)


def _known(kind: str, names: Collection[str]) -> Check:
    def check(option: str, value: object) -> None:
        if value not in names:
            raise OptionError(f"{option}: {unknown(kind, value, names)}")

    return _value(check)


def _list(check: Check, *, low: int = 0) -> Check:
    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        if not isinstance(value, list) or len(value) < low:
            yield Problem(path, f"{_dotted(path)} must be a list, not {value!r}")
            return
        for index, item in enumerate(value):
            yield from check((*path, index), item)
            if item in value[:index]:
                yield _problem((*path, index), f"{item!r} is listed twice")

    return problems


def _table(check: Check, *, keys: Check | None = None) -> Check:
    """Return the check of a table whose keys are names and whose values are alike."""

    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, f"{_dotted(path)} must be a table, not {value!r}")
            return
        for key, item in value.items():
            yield from keys((*path, key), key) if keys else ()
            yield from check((*path, key), item)

    return problems


def _keys(checks: Mapping[str, Check], *, required: Iterable[str] = ()) -> Check:
    """Return the check of a table that may have these keys."""

    def one(path: KeyPath, value: Any) -> Iterator[Problem]:
        key = str(path[-1])
        if key in checks:
            yield from checks[key](path, value)
        else:
            yield _problem(path, unknown_key(key, checks))

    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        yield from _table(one)(path, value)
        if isinstance(value, Mapping):
            missing = [key for key in required if key not in value]
            yield from [_problem(path, f"{key} is missing") for key in missing]

    return problems


def _options(path: KeyPath, value: Any) -> Iterator[Problem]:
    """Check the parts among the options of a model; the others are its own."""
    yield from _table(lambda *_: iter(()))(path, value)
    for key, part in value.items() if isinstance(value, Mapping) else ():
        named = isinstance(part, str) or (isinstance(part, Mapping) and "name" in part)
        if key in PARTS and named:  # parts for each density have names of their own
            yield from _PART((*path, key), part)


_PART = _value(SETTINGS["backbone"])  # which goes by the last key
_TEXT = _is("str", "a text")
_DATASET = _known("data set", probseg.datasets)
_ANYTHING: Check = lambda path, value: iter(())  # noqa: E731
_SETTINGS = _keys({name: _value(check) for name, check in SETTINGS.items()})
_FOLD = _value(partial(check_choice, choices=range(FOLDS)))
_SELECTION = {"datasets": _list(_DATASET), "models": _list(_TEXT), "baselines": _list(_TEXT)}
_ROW = _keys(
    {
        "description": _TEXT,
        "build": _known("model", probseg.models),
        "baseline": _value(
            partial(check_choice, choices=("always-empty", "annotators", "one-annotator"))
        ),
        "takes": _list(_known("setting", SETTINGS)),
        "like": _TEXT,
        "settings": _SETTINGS,
        "options": _options,
        "projected": _value(partial(check_choice, choices=(True, False))),
        "latents": _list(_value(partial(check_choice, choices=("noise", "swapped")))),
    }
)
_PROFILE = _keys(
    {
        "description": _TEXT,
        "folds": _list(_FOLD, low=1),
        "settings": _SETTINGS,
        "models": _table(_SETTINGS),
        "datasets": _table(_SETTINGS, keys=_DATASET),
    },
    required=("description", "folds", "settings"),
)
_SUITE = _keys(
    {
        "description": _TEXT,
        "extends": _TEXT,
        "all": _keys(_SELECTION, required=_SELECTION),
        "datasets": _table(_table(_ANYTHING), keys=_DATASET),
        "models": _table(_ROW),
        "profiles": _table(_PROFILE),
    },
    required=("all", "models", "profiles"),
)
