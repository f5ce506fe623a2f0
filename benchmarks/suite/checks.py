"""What no schema can check of a suite: that rows, settings, data sets, parts and options exist."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import probseg
from benchmarks.suite.settings import MODEL, OF_PARTS, names
from benchmarks.suite.validation import Fault, unknown
from probseg.options import did_you_mean, listing, named_parameters
from probseg.registry import PARTS, Constructor, registry

Path = tuple[str | int, ...]


def reference_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield each name that a suite mentions and nothing has; no part is imported."""
    rows = data["models"]
    for kind in ("models", "baselines"):
        yield from _unknown(data["all"][kind], rows, ("all", kind), kind="row of the suite")
    yield from _unknown(data["all"]["datasets"], probseg.datasets, ("all", "datasets"))
    yield from _unknown(data.get("datasets", {}), probseg.datasets, ("datasets",))
    for name, row in rows.items():
        yield from _row_faults(row, rows, ("models", name))
    for name, profile in data["profiles"].items():
        path = ("profiles", name)
        of_rows, of_datasets = profile.get("models", {}), profile.get("datasets", {})
        yield from _unknown(of_rows, rows, (*path, "models"), kind="row of the suite")
        yield from _unknown(of_datasets, probseg.datasets, (*path, "datasets"))
    for path, table in _tables(data):
        yield from part_faults(table, path)


def _row_faults(row: Mapping[str, Any], rows: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    yield from _unknown(row.get("takes", ()), names(), (*path, "takes"), kind="setting")
    built = [name for name, other in rows.items() if "build" in other]
    for key, known, kind in (("build", probseg.models, "model"), ("like", built, "built row")):
        if key in row and row[key] not in known:
            yield Fault((*path, key), unknown(row[key], known, kind=kind))
    if len({"build", "baseline", "like"} & row.keys()) != 1:
        yield Fault(path, "a row is one of: what to build, a baseline, like another row")
    like = row.get("like")
    if like is not None and like not in built:
        return  # what the row takes is unknown too
    taken = row.get("takes", rows.get(like, {}).get("takes", ()))
    for setting in row.get("settings", ()):
        if setting in MODEL and not {setting, *OF_PARTS.get(setting, ())} & set(taken):
            told = f"the row does not take {setting!r}, so this would change nothing"
            yield Fault((*path, "settings", setting), told)


def part_faults(table: Mapping[str, Any], path: Path = ()) -> Iterator[Fault]:
    """Yield each part among settings or options whose name no registry has."""
    for key, part in _parts(table):
        named = isinstance(part, Mapping)
        name, known = (part["name"] if named else part), registry(PARTS[key])
        if name not in known:
            where = (*path, key, "name") if named else (*path, key)
            yield Fault(where, unknown(name, known, kind=known.kind))


def option_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield each option that nothing takes; this imports models, parts and data sets."""
    rows = data["models"]
    for name, options in data.get("datasets", {}).items():
        yield from _unknown_options(probseg.datasets[name], options, ("datasets", name))
    for name, row in rows.items():
        if options := row.get("options"):
            model = probseg.models[rows[row.get("like", name)]["build"]]
            yield from _unknown_options(model, options, ("models", name, "options"))
    for path, table in _tables(data):
        for key, part in _parts(table):
            if isinstance(part, Mapping):
                constructor = registry(PARTS[key])[part["name"]]
                options = {option: value for option, value in part.items() if option != "name"}
                yield from _unknown_options(constructor, options, (*path, key))


def _tables(data: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield every table that names parts: the settings of profiles and rows, and rows' options."""
    for name, row in data["models"].items():
        for key in ("settings", "options"):
            yield ("models", name, key), row.get(key, {})
    for name, profile in data["profiles"].items():
        yield ("profiles", name, "settings"), profile["settings"]
        for kind in ("models", "datasets"):
            for key, table in profile.get(kind, {}).items():
                yield ("profiles", name, kind, key), table


def _parts(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield parts given by name or as a table with a name; one for each density has none."""
    for key, part in table.items():
        named = isinstance(part, str) or (isinstance(part, Mapping) and "name" in part)
        if key in PARTS and named:
            yield key, part


def _unknown_options(
    constructor: Constructor, options: Mapping[str, Any], path: Path
) -> Iterator[Fault]:
    known = named_parameters(constructor)
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for option in options:
        if option not in known:
            near = did_you_mean(option, known)
            told = f"unknown option {option!r}{near}; known: {listing(known)}"
            yield Fault((*path, option), told)


def _unknown(
    names: Collection[str], known: Iterable[str], path: Path, *, kind: str = "data set"
) -> Iterator[Fault]:
    known = list(known)
    places = names if isinstance(names, Mapping) else range(len(names))  # keys, or of a list
    for place, name in zip(places, names, strict=True):
        if name not in known:
            yield Fault((*path, place), unknown(name, known, kind=kind))
