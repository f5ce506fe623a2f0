"""Exporting: what of a run is worth keeping, small enough to commit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.jobs import pictures as picture_files
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.results import Result
from benchmarks.reports.figures import shared_albums
from benchmarks.reports.stored import Stored, combine, keep
from probseg.utils.atomic_files import atomic_file

DIGITS = 5  # significant ones of a score; sampling moves the third


def export(runs: Mapping[Path, Stored], out: Path, *, pictures: bool = True) -> Stored:
    """Write the results of runs without checkpoints, as one run, and return it.

    The scores of images and the history are rounded to five significant digits; their means are
    kept as they are, so that tables come out the same.

    Args:
        runs: Folder of each run to what to keep of it.
        out: Folder to write into, which ``python -m benchmarks.report`` reads.
        pictures: Whether to keep the pictured images; those of some data sets may not be passed on.

    Raises:
        ResultError: Two cells are the same row with other settings.
        WriteError: The disk is full or read-only.
    """
    whole = combine(runs.values())
    for cell, result in whole.finished:
        _write_result(cell, result, out)
    for source, stored in runs.items() if pictures else ():
        _write_pictures(stored, source, out)
    keep(whole.finished, out, whole.competing, whole.notes)
    return whole


def size(folder: Path) -> int:
    """Return how many bytes the cells in a folder take."""
    return sum(path.stat().st_size for path in folder.glob("cells/**/*") if path.is_file())


def _write_result(cell: Cell, result: Result, out: Path) -> None:
    rounded = replace(result, scores=_round(result.scores), history=_round(result.history))
    text = json.dumps(rounded.to_json(), separators=(",", ":"))
    path = cell.folder(out) / "result.json.gz"
    with atomic_file(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _round(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_round(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _write_pictures(stored: Stored, source: Path, out: Path) -> None:
    for dataset in dict.fromkeys(cell.dataset for cell, _ in stored.finished):
        mine = [(c, r) for c, r in stored.finished if c.dataset == dataset]
        for cell, album in shared_albums(mine, source):
            compact = {place: picture_files.compact(page) for place, page in album.items()}
            picture_files.save(cell.folder(out) / picture_files.FILE, compact)
