"""Checks of a suite: every problem with its key path, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
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


# What a suite may hold: a check of a value, a list of a schema, or a kind of table.


def _anything(option: str, value: Any) -> None:
    pass


@dataclass(frozen=True)
class Table:
    """A table whose keys are names, and whose values are alike."""

    values: Schema
    keys: Check = _anything


@dataclass(frozen=True)
class Keys:
    """A table that may have these keys."""

    values: Mapping[str, Schema]
    required: Collection[str] = ()


Schema = Check | list["Schema"] | Table | Keys


def _problems(schema: Schema, path: KeyPath, value: Any) -> Iterator[Problem]:
    if isinstance(schema, list):
        yield from _list_problems(schema[0], path, value)
    elif isinstance(schema, Table | Keys):
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


def _table_problems(schema: Table | Keys, path: KeyPath, value: Any) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"{_dotted(path)} must be a table, not {value!r}")
        return
    for key, item in value.items():
        if isinstance(schema, Table):
            yield from _problems(schema.keys, (*path, key), key)
            yield from _problems(schema.values, (*path, key), item)
        elif key in schema.values:
            yield from _problems(schema.values[key], (*path, key), item)
        else:
            yield _problem((*path, key), unknown_key(key, schema.values))
    if isinstance(schema, Keys) and value.keys() <= schema.values.keys():  # none is misspelt
        missing = [key for key in schema.required if key not in value]
        yield from [_problem(path, f"{key} is missing") for key in missing]


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
_SETTINGS = Keys(SETTINGS)
_SELECTION: dict[str, Schema] = {"datasets": [_DATASET], "models": [_text], "baselines": [_text]}
_ROW = Keys(
    {
        "description": _text,
        "build": _known("model", probseg.models),
        "baseline": partial(check_choice, choices=("always-empty", "annotators", "one-annotator")),
        "takes": [_known("setting", SETTINGS)],
        "like": _text,
        "settings": _SETTINGS,
        "options": Table(_model_option),
        "projected": BOOLEAN,
        "latents": [partial(check_choice, choices=("noise", "swapped"))],
    }
)
_PROFILE = Keys(
    {
        "description": _text,
        "folds": [partial(check_choice, choices=range(FOLDS))],
        "settings": _SETTINGS,
        "models": Table(_SETTINGS),
        "datasets": Table(_SETTINGS, keys=_DATASET),
    },
    required=("description", "folds", "settings"),
)
_SUITE = Keys(
    {
        "description": _text,
        "extends": _text,
        "all": Keys(_SELECTION, required=_SELECTION),
        "datasets": Table(Table(_anything), keys=_DATASET),
        "models": Table(_ROW),
        "profiles": Table(_PROFILE),
    },
    required=("all", "models", "profiles"),
)
