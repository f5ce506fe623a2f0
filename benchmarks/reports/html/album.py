"""The album of a run: which images the sample browser shows, with each model's scores of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import pictures
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.results import Result
from benchmarks.reports.html.sheets import sheet
from benchmarks.reports.tables import COLUMNS

Finished = Sequence[tuple[Cell, Result]]
_SHOWN = ("ged", "w-iou", "hungarian-iou")


@dataclass(frozen=True)
class Leaf:
    """One image of the album.

    Args:
        dataset: Where it is from.
        place: In the test set.
        title: What a person reads.
        sheet: The pictures, as plain data.
    """

    dataset: str
    place: int
    title: str
    sheet: dict[str, Any]


def leaves(finished: Finished, folder: Path) -> list[Leaf]:
    """Return the images of which every trained row has pictures, data set by data set."""
    datasets = dict.fromkeys(cell.dataset for cell, _ in finished)
    return [leaf for name in datasets for leaf in _of_dataset(_first(finished, name), folder)]


def _first(finished: Finished, dataset: str) -> dict[str, tuple[Cell, Result]]:
    """Return each trained row's first fold and seed."""
    found: dict[str, tuple[Cell, Result]] = {}
    for cell, result in finished:
        if cell.trained and cell.dataset == dataset:
            found.setdefault(cell.row, (cell, result))
    return found


def _of_dataset(rows: dict[str, tuple[Cell, Result]], folder: Path) -> Iterable[Leaf]:
    paths = {row: cell.folder(folder) / pictures.FILE for row, (cell, _) in rows.items()}
    albums = {row: pictures.load(path) for row, path in paths.items() if path.exists()}
    shared = set.intersection(*(set(album) for album in albums.values())) if albums else ()
    for place in sorted(shared):
        made = sheet({row: album[place] for row, album in albums.items()})
        for row, answers in made["models"].items():
            answers["scores"] = _scores(rows[row][1], place)
        cell, result = next(iter(rows.values()))
        yield Leaf(cell.dataset, place, _title(result, place), made)


def _title(result: Result, place: int) -> str:
    images = result["images"]
    return f"image {images['index'][place]} of {images['group'][place]}"


def _scores(result: Result, place: int) -> dict[str, str]:
    """Return this image's scores as text, by the families of the table's columns."""
    columns = [column for column in COLUMNS if column.metric in _SHOWN]
    scores = result["scores"]["base"]
    values = {c: scores[c.metric][place] for c in columns if c.metric in scores}
    return {c.family: f"{v:.{c.digits}f}" for c, v in values.items() if v is not None}
