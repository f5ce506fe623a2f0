"""Checks of a suite: every problem with its key path, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import probseg
from benchmarks.suite.settings import (
    BOOLEAN,
    FOLDS,
    MODEL,
    OF_PARTS,
    SETTINGS,
    Check,
    check_part,
    unknown_key,
)
from probseg.errors import OptionError
from probseg.options import check_choice, check_given, unknown
from probseg.registry import PARTS, registry

KeyPath = tuple[str | int, ...]  # keys of tables, and indices of lists, from the top


class Problem(NamedTuple):
    """What is wrong in a suite."""

    path: KeyPath
    message: str  # with the path


def problems(suite: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with tables, values and names; no part is imported."""
    yield from _problems(_SUITE, (), suite)


def row_problems(suite: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield where rows do not fit each other, of a suite without other problems."""
    rows = suite["models"]
    row_name = _known("row of the suite", rows)
    for kind in ("models", "baselines"):
        for index, name in enumerate(suite["all"][kind]):
            yield from _problems(row_name, ("all", kind, index), name)
    for profile, table in suite["profiles"].items():
        if not table["folds"]:
            yield _problem(("profiles", profile, "folds"), "there must be at least one")
        for name in table.get("models", ()):
            yield from _problems(row_name, ("profiles", profile, "models", name), name)
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
    for path, part in _parts((), suite):
        constructor = registry(PARTS[str(path[-1])])[part["name"]]
        yield from _option_problems(path, constructor, {k: part[k] for k in part if k != "name"})


def _parts(path: KeyPath, table: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Yield each part with options, wherever a suite gives it."""
    for key, value in table.items():
        if isinstance(value, Mapping) and key in PARTS and "name" in value:
            yield (*path, key), value
        elif isinstance(value, Mapping):
            yield from _parts((*path, key), value)


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


class Required(str):
    """A key that a table must have."""

    __slots__ = ()


# What a suite may hold: a check of a value; a list of what satisfies a schema; a table with these
# keys; or, where its only key is a check, one with any keys that satisfy that.
Schema = Check | list[Any] | dict[Any, Any]


def _problems(schema: Schema, path: KeyPath, value: Any) -> Iterator[Problem]:
    if isinstance(schema, list):
        yield from _list_problems(schema[0], path, value)
    elif isinstance(schema, dict):
        yield from _table_problems(schema, path, value)
    else:
        try:
            schema(_dotted(path), value)
        except OptionError as error:
            yield Problem(path, str(error))


def _list_problems(schema: Schema, path: KeyPath, value: Any) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(path, f"{_dotted(path)} must be a list, not {value!r}")
        return
    for index, item in enumerate(value):
        yield from _problems(schema, (*path, index), item)
        if item in value[:index]:
            yield _problem((*path, index), f"{item!r} is listed twice")


def _table_problems(schema: dict[Any, Any], path: KeyPath, value: Any) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"{_dotted(path)} must be a table, not {value!r}")
        return
    of_keys = next((key for key in schema if callable(key)), None)
    for key, item in value.items():
        if of_keys is not None:
            yield from _problems(of_keys, (*path, key), key)
        if of_keys is not None or key in schema:
            yield from _problems(schema[of_keys or key], (*path, key), item)
        else:
            yield _problem((*path, key), unknown_key(key, schema))
    if value.keys() <= schema.keys():  # none is misspelt
        missing = [k for k in schema if isinstance(k, Required) and k not in value]
        yield from [_problem(path, f"{key} is missing") for key in missing]


def _anything(option: str, value: Any) -> None:
    pass


def _known(kind: str, names: Collection[str]) -> Check:
    def check(option: str, value: Any) -> None:
        if not isinstance(value, str) or value not in names:
            raise OptionError(f"{option}: {unknown(kind, value, names)}")

    return check


def _text(option: str, value: Any) -> None:
    if not isinstance(value, str):
        raise OptionError(f"{option} must be a text, not {value!r}")


def _model_option(option: str, value: Any) -> None:
    """Check an option of a model that is a part; the others are the model's own."""
    named = isinstance(value, str) or (isinstance(value, Mapping) and "name" in value)
    if option.rpartition(".")[2] in PARTS and named:  # a table may have a part for each density
        check_part(option, value)


_DATASET = _known("data set", probseg.datasets)
_ROW = {
    "description": _text,
    "build": _known("model", probseg.models),
    "baseline": partial(check_choice, choices=("always-empty", "annotators", "one-annotator")),
    "plugin": _text,
    "takes": [_known("setting", SETTINGS)],
    "like": _text,
    "settings": SETTINGS,
    "options": {_anything: _model_option},
    "projected": BOOLEAN,
    "stratified": BOOLEAN,
    "latents": [partial(check_choice, choices=("noise", "swapped"))],
}
_PROFILE = {
    Required("description"): _text,
    Required("folds"): [partial(check_choice, choices=range(FOLDS))],
    Required("settings"): SETTINGS,
    "models": {_anything: SETTINGS},
    "datasets": {_DATASET: SETTINGS},
}
_SUITE = {
    "description": _text,
    "extends": _text,
    Required("all"): {
        Required("datasets"): [_DATASET],
        Required("models"): [_text],
        Required("baselines"): [_text],
    },
    "datasets": {_DATASET: {_anything: _anything}},
    Required("models"): {_anything: _ROW},
    Required("profiles"): {_anything: _PROFILE},
}
