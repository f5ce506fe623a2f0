"""Stored runs: the finished cells of a run's folder, or of one that was exported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.jobs.cells import Cell
from benchmarks.jobs.results import Result, ResultError, read_result
from benchmarks.reports.figures import Finished
from benchmarks.suite.definition import read_suite
from benchmarks.suite.validation import ChoiceError, check, schema
from probseg.utils.atomic_files import write_json

FILE = "run.json"


@dataclass(frozen=True)
class Stored:
    """Finished cells and what a report must know of them."""

    finished: Finished
    competing: Sequence[str]
    notes: Mapping[str, str]
    refused: Sequence[str] = ()  # results that could not be read, and why


def keep(finished: Finished, out: Path, competing: Iterable[str], notes: Mapping[str, str]) -> None:
    """Write down what a run was asked for, so that its report can be made again."""
    rows = {cell.row for cell, _ in finished}
    record = {
        "schema": 1,
        "cells": [cell.key for cell, _ in finished],
        "competing": sorted(rows & set(competing)),
        "notes": {row: note for row, note in notes.items() if row in rows},
    }
    write_json(out / FILE, record)


def runs(folder: Path) -> list[Path]:
    """Return the runs in a folder: itself, or those that lie in it.

    Raises:
        ResultError: There is none.
    """
    if (folder / "cells").is_dir():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/cells") if path.is_dir())
    if not found:
        raise ResultError(
            f"{folder} holds no results: name a run's --out folder, or one that --export wrote"
        )
    return found


def load(folder: Path, *, everything: bool = False) -> Stored:
    """Read a run.

    Args:
        folder: What ``benchmarks.run`` or an export wrote.
        everything: Whether to take every finished cell, not only those of the last command.

    Raises:
        ResultError: No cell is finished, or two are the same row with other settings.
    """
    results, refused = _results(folder)
    if not results:
        told = f": {refused[0]}" if refused else ""
        raise ResultError(f"{folder} has no finished cell{told}")
    if everything or not (folder / FILE).exists():
        return _by_suite(results, refused)
    record = _record(folder / FILE)
    by_key = {result["key"]: result for result in results}
    chosen = [by_key[key] for key in record["cells"] if key in by_key]
    if not chosen:
        raise ResultError(f"{folder}: none of the cells that {FILE} lists is there")
    absent = [
        f"cell {key} is listed, but not there" for key in record["cells"] if key not in by_key
    ]
    return Stored(_cells(chosen), record["competing"], record["notes"], [*refused, *absent])


def combine(parts: Iterable[Stored]) -> Stored:
    """Return several runs as one.

    Raises:
        ResultError: Two cells are the same row with other settings.
    """
    parts = list(parts)
    cells = {cell.key: (cell, result) for part in parts for cell, result in part.finished}
    _refuse_ambiguous(list(cells.values()))
    return Stored(
        finished=list(cells.values()),
        competing=list(dict.fromkeys(row for part in parts for row in part.competing)),
        notes={row: note for part in parts for row, note in part.notes.items()},
        refused=[told for part in parts for told in part.refused],
    )


def by_profile(stored: Stored) -> dict[str, Stored]:
    """Return profile to what belongs to it: numbers of two are never mixed."""
    profiles = dict.fromkeys(cell.config["profile"] for cell, _ in stored.finished)
    return {name: replace(stored, finished=_of(stored.finished, name)) for name in profiles}


def _of(finished: Finished, profile: str) -> Finished:
    return [(cell, result) for cell, result in finished if cell.config["profile"] == profile]


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        check(record, schema("run"), where=str(path))
    except ChoiceError as error:
        raise ResultError(str(error)) from error
    except (OSError, ValueError) as error:
        raise ResultError(f"cannot read {path}: {error}") from error
    return dict(record)


def _results(folder: Path) -> tuple[list[Result], list[str]]:
    """Return the finished results, and what is wrong with those that cannot be read."""
    found: dict[str, Result] = {}
    refused = []
    for path in sorted(folder.glob("cells/*/*/*/*/result.json*")):
        try:
            result = read_result(path)
        except ResultError as error:
            refused.append(str(error))
            continue
        if result["status"] == "finished":
            found.setdefault(result["key"], result)
    return list(found.values()), refused


def _by_suite(results: Sequence[Result], refused: Sequence[str]) -> Stored:
    """Order results as the suite does; a row it does not know comes last."""
    suite = read_suite()
    order = list(suite.models)
    baselines = suite.all["baselines"]
    cells = sorted(_cells(results), key=lambda pair: _place(pair[0], order))
    _refuse_ambiguous(cells)
    competing = {cell.row for cell, _ in cells if cell.trained and cell.row not in baselines}
    notes = {name: entry.description for name, entry in suite.models.items()}
    return Stored(cells, sorted(competing), notes, refused)


def _place(cell: Cell, order: Sequence[str]) -> tuple[str, str, int, str, int, int]:
    row = order.index(cell.row) if cell.row in order else len(order)
    fit = cell.config["fold"] or 0, cell.config["seed"] or 0
    return cell.config["profile"], cell.dataset, row, cell.row, *fit


def _cells(results: Iterable[Result]) -> list[tuple[Cell, Result]]:
    return [(result.cell, result) for result in results]


def _refuse_ambiguous(cells: Finished) -> None:
    """Refuse two cells of the same row, fold and seed, which differ in their settings."""
    seen: dict[tuple[str, str], Cell] = {}
    for cell, _ in cells:
        other = seen.setdefault((cell.config["profile"], cell.label), cell)
        if other is not cell:
            raise ResultError(
                f"{cell.label} was run with two settings, cells {other.key} and {cell.key}: report "
                "them from folders of their own"
            )
