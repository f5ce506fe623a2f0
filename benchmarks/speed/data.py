"""Real LIDC: packing it, opening it, and reading random batches, beside the files others read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.contest import Contest, Disagreement, Entry, Row, hold
from benchmarks.speed.layouts import Open, Pack, Read, WritePickle
from benchmarks.speed.options import Options
from benchmarks.speed.workers import Contestant, Worker
from probseg.errors import MissingDataError

ARCHIVE = "lidc_slices.zip"
ROUNDING = 1e-6  # of brightness in [0, 1]: 255ths in one order of operations or another


def contests(options: Options) -> list[Contest]:
    """Return the tables of this topic.

    Raises:
        MissingDataError: There is no zip of LIDC.
    """
    archive = _archive(options)
    with tempfile.TemporaryDirectory() as scratch:
        options.watch(f"packing {archive.name}")
        row, packed = _once(Pack, archive=archive, cache=Path(scratch))
        pickled, count = Path(scratch) / "lidc.pickle", options.size(1000, 2)
        _once(WritePickle, packed=packed["folder"], path=pickled, count=count)
        places = {
            "packed cache": ("packed", packed["folder"]),
            "PNG files in the zip": ("png", archive),
            f"pickle of {count}": ("pickle", pickled),
        }
        return [_reading(places, options), _opening(places, options), _packing(row, packed)]


def _reading(places: Mapping[str, tuple[str, Path]], options: Options) -> Contest:
    batch = options.size(32, 2)
    contest = hold(
        f"A batch of {batch} random images with four masks, one process",
        _entries(Read, places, same_samples, batch=batch),
        rounds=options.rounds,
        watch=options.watch,
    )
    rates = ", ".join(f"{row.name} {batch / row.median:,.0f}" for row in contest.rows)
    return replace(contest, notes=[f"Images a second: {rates}."])


def _opening(places: Mapping[str, tuple[str, Path]], options: Options) -> Contest:
    contest = hold(
        "Opening: until batches can be asked for, imports not counted",
        _entries(Open, places),
        rounds=options.rounds,
        watch=options.watch,
    )
    held = ", ".join(f"{row.name} {row.peak:,.0f} (+{row.memory:,.0f})" for row in contest.rows)
    return replace(contest, notes=[f"MB resident at most, and what opening added: {held}."])


def _packing(row: Row, packed: Mapping[str, Any]) -> Contest:
    note = (
        f"{packed['samples']:,} samples; at its peak the process held {packed['process']:,.0f} MB "
        f"and the largest of its workers {packed['worker']:,.0f} MB."
    )
    return Contest(title="Packing, once", rows=[row], notes=[note])


def _once(make: Callable[..., Contestant], **options: Any) -> tuple[Row, Any]:
    """Let one contestant run once, in a process of its own; return what it took and answers."""
    with Worker(make, options) as worker:
        seconds, answer, memory = worker.seconds(), worker.answer(), worker.memory()
    return Row(name="probseg", seconds=[seconds], ratios=[1.0], **memory, agreement=""), answer


def _entries(
    make: Callable[..., Contestant],
    places: Mapping[str, tuple[str, Path]],
    agree: Callable[[Any, Any], str] | None = None,
    **options: Any,
) -> list[Entry]:
    return [
        Entry(
            name=name,
            make=make,
            options={"layout": layout, "path": path, **options},
            agree=agree if number else None,
        )
        for number, (name, (layout, path)) in enumerate(places.items())
    ]


def same_samples(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Say that two layouts give the same images and masks.

    Raises:
        Disagreement: They do not.
    """
    difference = float(np.abs(ours["images"] - theirs["images"]).max())
    if difference > ROUNDING or not np.array_equal(ours["masks"], theirs["masks"]):
        raise Disagreement("their first samples are not the same images and masks")
    return "the same images and masks"


def _archive(options: Options) -> Path:
    archive = options.data_root and options.data_root / ARCHIVE
    if archive is None or not archive.is_file():
        raise MissingDataError(
            f"there is no {archive or ARCHIVE}; pass --data-root, or set PROBSEG_DATA, to a folder "
            "that holds it"
        )
    return archive
