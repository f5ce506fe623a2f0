"""The sample browser of the report: which images it shows, and what each row scored on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.jobs.results import Result
from benchmarks.reports.figures import COLOURS, classes_of
from benchmarks.reports.results_table import COLUMNS
from benchmarks.reports.runs import RowPictures, shared_pictures
from probseg.plots import Block
from probseg.reports.samples import encode

SCORES = ("ged", "w-iou", "hungarian-iou")  # shown of each image


def browser_images(results: Iterable[Result], folder: Path) -> list[dict[str, Any]]:
    """Return the images of which every trained row has pictures, with data set and title."""
    pictured = shared_pictures(results, folder).values()
    return [image for rows in pictured for image in _images_of(rows)]


def _images_of(rows: Sequence[RowPictures]) -> Iterator[dict[str, Any]]:
    first, classes = rows[0].result, classes_of(rows)
    for index in rows[0].pictures:
        pictures = {row.result.experiment.row: row.pictures[index] for row in rows}
        image = next(iter(pictures.values()))
        content = encode(
            image["masks"],
            {name: Block(p["labels"], p["mean"], p["sd"]) for name, p in pictures.items()},
            image=image["image"],
            colours=COLOURS,
            classes=classes,
        )
        for row in rows:
            content["models"][row.result.experiment.row]["scores"] = _scores(row.result, index)
        title = f"image {first.images.index[index]} of {first.images.group[index]}"
        yield {"dataset": first.experiment.dataset, "title": title, **content}


def _scores(result: Result, index: int) -> dict[str, str]:
    """Return an image's scores as text, by the families of the table's columns."""
    columns = [column for column in COLUMNS if column.name in SCORES]
    scores = result.scores["base"]
    values = {c: scores[c.name][index] for c in columns if c.name in scores}
    return {c.title.split()[0]: f"{v:.{c.digits}f}" for c, v in values.items() if v is not None}
