"""Finished runs: read from their folders, combined, and exported, small enough to commit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.jobs import pictures
from benchmarks.jobs.pictures import Picture
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.records import from_json, to_json
from benchmarks.jobs.results import Result, ResultError, read_result
from benchmarks.suite.definition import read_suite
from probseg.errors import DataError
from probseg.utils.atomic_files import atomic_file, write_json

FILE = "run.json"
DIGITS = 5  # significant ones of an exported score; sampling moves the third


@dataclass(frozen=True)
class RunResults:
    """The results of a run and what its report needs beside them."""

    results: Sequence[Result]  # of the finished cells, in the order of the table
    competing: Sequence[str]  # the rows among which the best value is marked
    notes: Mapping[str, str]  # row to its description
    problems: Sequence[str] = ()  # the results that could not be read, and why


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` holds: the cells of the last command, to make its report again."""

    schema: int
    cells: Sequence[str]  # keys
    competing: Sequence[str]
    notes: Mapping[str, str]


def write_record(run: RunResults, out: Path) -> None:
    """Write ``run.json``, from which the report of a run can be made again.

    Raises:
        WriteError: The disk is full or read-only.
    """
    rows = {result.experiment.row for result in run.results}
    record = RunRecord(
        schema=1,
        cells=[result.key for result in run.results],
        competing=sorted(rows & set(run.competing)),
        notes={row: note for row, note in run.notes.items() if row in rows},
    )
    write_json(out / FILE, to_json(record))


def _read_record(path: Path) -> RunRecord:
    try:
        record = from_json(RunRecord, json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except DataError as error:
        raise ResultError(str(error)) from error
    except (OSError, ValueError) as error:
        raise ResultError(f"cannot read {path}: {error}") from error
    if record.schema != 1:
        raise ResultError(f"{path} has schema {record.schema!r}, this code reads 1")
    return record


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of runs in a folder: itself, or those that lie in it.

    Raises:
        ResultError: There is none.
    """
    if (folder / "cells").is_dir():
        return [folder]
    folders = sorted(path.parent for path in folder.glob("*/cells") if path.is_dir())
    if not folders:
        raise ResultError(
            f"{folder} holds no results: name a run's --out folder, or one that --export wrote"
        )
    return folders


def load(folder: Path, *, everything: bool = False) -> RunResults:
    """Read what ``benchmarks.run`` or an export wrote: ``everything``, or only the last command.

    Raises:
        ResultError: No cell is finished, or two are the same row with other settings.
    """
    results, problems = _read_results(folder)
    if not results:
        problem = f": {problems[0]}" if problems else ""
        raise ResultError(f"{folder} has no finished cell{problem}")
    if everything or not (folder / FILE).exists():
        return _in_order_of_suite(results.values(), problems)
    record = _read_record(folder / FILE)
    chosen = [results[key] for key in record.cells if key in results]
    if not chosen:
        raise ResultError(f"{folder}: none of the cells that {FILE} lists is there")
    missing = [f"cell {key} is listed, but not there" for key in record.cells if key not in results]
    return RunResults(chosen, record.competing, record.notes, [*problems, *missing])


def _read_results(folder: Path) -> tuple[dict[str, Result], list[str]]:
    """Return the finished results by key, and why the others cannot be read."""
    results: dict[str, Result] = {}
    problems = []
    for path in sorted(folder.glob("cells/*/*/*/*/result.json*")):
        try:
            result = read_result(path)
        except ResultError as error:
            problems.append(str(error))
        else:
            if result.finished:
                results.setdefault(result.key, result)
    return results, problems


def _in_order_of_suite(results: Iterable[Result], problems: Sequence[str]) -> RunResults:
    """Order results as the suite does; a row that it does not have comes last."""
    suite = read_suite()
    order = {row: index for index, row in enumerate(suite.models)}

    def position(result: Result) -> tuple[str, str, int, str, int, int]:
        cell = result.experiment
        row = order.get(cell.row, len(order))
        return cell.profile, cell.dataset, row, cell.row, cell.fold or 0, cell.seed or 0

    ordered = sorted(results, key=position)
    _refuse_ambiguous(ordered)
    cells = [result.experiment for result in ordered]
    competing = {c.row for c in cells if c.trained and c.row not in suite.all.baselines}
    notes = {name: entry.description for name, entry in suite.models.items()}
    return RunResults(ordered, sorted(competing), notes, problems)


def _refuse_ambiguous(results: Iterable[Result]) -> None:
    """Refuse two cells of the same row, fold and seed whose settings differ."""
    seen: dict[tuple[str, str], Experiment] = {}
    for cell in (result.experiment for result in results):
        other = seen.setdefault((cell.profile, cell.label), cell)
        if other is not cell:
            raise ResultError(
                f"{cell.label} was run with two settings, cells {other.key} and {cell.key}: report "
                "them from folders of their own"
            )


def by_profile(run: RunResults) -> dict[str, RunResults]:
    """Return profile to its part of a run: numbers of two profiles are never mixed."""
    groups: dict[str, list[Result]] = {}
    for result in run.results:
        groups.setdefault(result.experiment.profile, []).append(result)
    return {profile: replace(run, results=results) for profile, results in groups.items()}


class RowPictures(NamedTuple):
    """The pictures of a row: those of its first fold and seed that has any."""

    result: Result
    pictures: Mapping[int, Picture]  # by index in the test set


def shared_pictures(results: Iterable[Result], folder: Path) -> dict[str, list[RowPictures]]:
    """Return data set to the pictures of each trained row, of the images that every row has."""
    by_dataset: dict[str, dict[str, RowPictures]] = {}
    for result in results:
        path = result.experiment.folder(folder) / pictures.FILE
        rows = by_dataset.get(result.experiment.dataset, {})
        if result.experiment.trained and result.experiment.row not in rows and path.exists():
            rows[result.experiment.row] = RowPictures(result, pictures.load(path))
            by_dataset[result.experiment.dataset] = rows
    return {dataset: _shared(list(rows.values())) for dataset, rows in by_dataset.items()}


def _shared(rows: Sequence[RowPictures]) -> list[RowPictures]:
    shared = sorted(set.intersection(*(set(row.pictures) for row in rows)))
    return [RowPictures(result, {i: own[i] for i in shared}) for result, own in rows]


def export(runs: Mapping[Path, RunResults], out: Path, *, with_pictures: bool = True) -> RunResults:
    """Write the results of runs without checkpoints, as one run, and return it.

    The scores of images and the history are rounded to five significant digits; their means are
    kept as they are, so that tables come out the same.

    Args:
        runs: Folder of each run to what to keep of it.
        out: Folder to write into.
        with_pictures: Whether to keep the images, which some data sets do not allow to pass on.

    Raises:
        ResultError: Two cells are the same row with other settings.
        WriteError: The disk is full or read-only.
    """
    results = {result.key: result for run in runs.values() for result in run.results}
    _refuse_ambiguous(results.values())
    combined = RunResults(
        results=list(results.values()),
        competing=list(dict.fromkeys(row for run in runs.values() for row in run.competing)),
        notes={row: note for run in runs.values() for row, note in run.notes.items()},
        problems=[problem for run in runs.values() for problem in run.problems],
    )
    for result in combined.results:
        _export_result(result, out)
    for source, run in runs.items() if with_pictures else ():
        for row in chain.from_iterable(shared_pictures(run.results, source).values()):
            compact = {index: pictures.compact(one) for index, one in row.pictures.items()}
            pictures.save(row.result.experiment.folder(out) / pictures.FILE, compact)
    write_record(combined, out)
    return combined


def size(folder: Path) -> int:
    """Return how many bytes the cells in a folder take."""
    return sum(path.stat().st_size for path in folder.glob("cells/**/*") if path.is_file())


def _export_result(result: Result, out: Path) -> None:
    rounded = replace(result, scores=_round(result.scores), history=_round(result.history))
    text = json.dumps(rounded.to_json(), separators=(",", ":"))
    with atomic_file(result.experiment.folder(out) / "result.json.gz") as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _round(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_round(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
