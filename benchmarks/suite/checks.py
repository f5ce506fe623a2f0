"""Checks of a suite: every problem with its key path, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import probseg
from benchmarks.suite.settings import FOLDS, MODEL, OF_PARTS, SETTINGS, unknown_key
from probseg.errors import OptionError
from probseg.options import check_choice, check_given, unknown
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


# Checks of what a suite may hold: each takes a key path and the value there.


def _value(check: Callable[[str, Any], object]) -> Check:
    """Return the check of a value by a function that raises OptionError."""

    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        try:
            check(_dotted(path), value)
        except OptionError as error:
            yield Problem(path, str(error))

    return problems


def _choice(*choices: object) -> Check:
    return _value(partial(check_choice, choices=choices))


def _known(kind: str, names: Collection[str]) -> Check:
    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        if not isinstance(value, str) or value not in names:
            yield _problem(path, unknown(kind, value, names))

    return problems


def _text(path: KeyPath, value: Any) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, f"{_dotted(path)} must be a text, not {value!r}")


def _anything(path: KeyPath, value: Any) -> Iterator[Problem]:
    yield from ()


def _list(check: Check) -> Check:
    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield Problem(path, f"{_dotted(path)} must be a list, not {value!r}")
            return
        for index, item in enumerate(value):
            yield from check((*path, index), item)
            if item in value[:index]:
                yield _problem((*path, index), f"{item!r} is listed twice")

    return problems


def _folds(path: KeyPath, value: Any) -> Iterator[Problem]:
    yield from _list(_choice(*range(FOLDS)))(path, value)
    if value == []:
        yield _problem(path, "there must be at least one")


def _table(check: Check, *, keys: Check = _anything) -> Check:
    """Return the check of a table whose keys are names and whose values are alike."""

    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, f"{_dotted(path)} must be a table, not {value!r}")
            return
        for key, item in value.items():
            yield from keys((*path, key), key)
            yield from check((*path, key), item)

    return problems


def _keys(checks: Mapping[str, Check], *, required: Iterable[str] = ()) -> Check:
    """Return the check of a table that may have these keys."""

    def item_problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        key = str(path[-1])
        if key in checks:
            yield from checks[key](path, value)
        else:
            yield _problem(path, unknown_key(key, checks))

    def problems(path: KeyPath, value: Any) -> Iterator[Problem]:
        yield from _table(item_problems)(path, value)
        if isinstance(value, Mapping) and not value.keys() - checks.keys():  # none is misspelt
            missing = [key for key in required if key not in value]
            yield from [_problem(path, f"{key} is missing") for key in missing]

    return problems


def _model_option(path: KeyPath, value: Any) -> Iterator[Problem]:
    """Check an option of a model that is a part; the others are the model's own."""
    named = isinstance(value, str) or (isinstance(value, Mapping) and "name" in value)
    if path[-1] in PARTS and named:  # the names of parts for each density are in their tables
        yield from _value(SETTINGS["backbone"])(path, value)  # which goes by the last key


_DATASET = _known("data set", probseg.datasets)
_SETTINGS = _keys({name: _value(check) for name, check in SETTINGS.items()})
_SELECTION = {"datasets": _list(_DATASET), "models": _list(_text), "baselines": _list(_text)}
_ROW = _keys(
    {
        "description": _text,
        "build": _known("model", probseg.models),
        "baseline": _choice("always-empty", "annotators", "one-annotator"),
        "takes": _list(_known("setting", SETTINGS)),
        "like": _text,
        "settings": _SETTINGS,
        "options": _table(_model_option),
        "projected": _choice(True, False),
        "latents": _list(_choice("noise", "swapped")),
    }
)
_PROFILE = _keys(
    {
        "description": _text,
        "folds": _folds,
        "settings": _SETTINGS,
        "models": _table(_SETTINGS),
        "datasets": _table(_SETTINGS, keys=_DATASET),
    },
    required=("description", "folds", "settings"),
)
_SUITE = _keys(
    {
        "description": _text,
        "extends": _text,
        "all": _keys(_SELECTION, required=_SELECTION),
        "datasets": _table(_table(_anything), keys=_DATASET),
        "models": _table(_ROW),
        "profiles": _table(_PROFILE),
    },
    required=("all", "models", "profiles"),
)
