"""The sample browser of the report: images, annotations and each model's samples as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks.jobs.pictures import Picture
from benchmarks.jobs.results import Result
from benchmarks.reports.figures import COLOURS, classes_of
from benchmarks.reports.results_table import COLUMNS
from benchmarks.reports.runs import RowPictures, shared_pictures
from probseg.plots import (
    CLASSES,
    Block,
    Pen,
    in_colour,
    largest_spread,
    map_headings,
    palette,
    pens,
)

SCORES = ("ged", "w-iou", "hungarian-iou")  # shown of each image
_FILL, _EDGE = 90, 255  # opacity inside a segmentation and along its border, of 255
_ANNOTATORS = "#FFB000"
_STRIPES = (150, 150, 150, 255), (90, 90, 90, 255)  # where nobody labelled
_SHADES = 64  # of a map: finer than an eye can tell
Array = NDArray[Any]


def browser_images(results: Iterable[Result], folder: Path) -> list[dict[str, Any]]:
    """Return the images of which every trained row has pictures, with data set and title."""
    pictured = shared_pictures(results, folder).values()
    return [image for rows in pictured for image in _images_of(rows)]


def _images_of(rows: Sequence[RowPictures]) -> Iterator[dict[str, Any]]:
    first, classes = rows[0].result, classes_of(rows)
    for index in rows[0].pictures:
        content = encode(
            {row.result.experiment.row: row.pictures[index] for row in rows}, classes=classes
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


def encode(pictures: Mapping[str, Picture], *, classes: int = 2) -> dict[str, Any]:
    """Return an image, its annotations and each model's samples of it, as plain data.

    Of more than two classes each has a colour, which is told under ``"classes"``. Pixels that
    nobody labelled are hatched; ``"unlabelled"`` says whether there are any.
    """
    first = next(iter(pictures.values()))
    colours = palette(pictures, COLOURS)
    annotations = Block.of_annotations(first["masks"])
    blocks = {name: Block(p["labels"], p["mean"], p["sd"]) for name, p in pictures.items()}
    of_classes = {f"class {k}": CLASSES[(k - 1) % len(CLASSES)] for k in range(1, classes)}
    return {
        "image": _shown(first["image"]),
        "classes": of_classes if classes > 2 else {},
        "unlabelled": bool(np.ma.is_masked(first["masks"])),
        "headings": map_headings(classes),
        "annotators": _answers(annotations, _ANNOTATORS, classes),
        "models": {row: _answers(block, colours[row], classes) for row, block in blocks.items()},
    }


def _answers(block: Block, colour: str, classes: int) -> dict[str, Any]:
    (pen,) = pens([colour], classes)
    return {
        "colour": colour,
        "samples": [_outlined(one, pen) for one in block.labels],
        "areas": [round(float((np.ma.filled(one, 0) > 0).mean()), 4) for one in block.labels],
        "mean": _map(block.mean, 1.0),
        "sd": _map(block.sd, largest_spread(classes)),
    }


def _shown(image: Array) -> str:
    """Encode three channels in colour, or else the first in grey."""
    if image.ndim == 3 and len(image) == 3:
        return _encode(Image.fromarray(_bytes(in_colour(_from_bytes(image)))))
    return _grey(image)


def _grey(image: Array) -> str:
    """Encode the first channel, its extremes aside from black to white."""
    plane = (image[0] if image.ndim == 3 else image).astype(float)
    low, high = np.percentile(plane, (0.5, 99.5))
    return _encode(Image.fromarray(_bytes(np.clip((plane - low) / max(high - low, 1e-6), 0, 1))))


def _from_bytes(image: Array) -> Array:
    """Return an image that was made compact as it was, from 0 to 1."""
    shown: Array = image.astype(float)
    return shown / 255 if image.dtype == np.uint8 else shown


def _bytes(share: Array) -> Array:
    values: Array = np.rint(255 * share).astype(np.uint8)
    return values


def _outlined(labels: Array, colour: Pen) -> str:
    """Encode a segmentation (H, W): each class filled lightly and bordered, nothing elsewhere.

    What is masked is hatched.
    """
    hidden, labels = np.ma.getmaskarray(labels), np.ma.filled(labels, 0)
    colours = [colour, *CLASSES] if isinstance(colour, str) else colour
    rgb = matplotlib.colors.to_rgba_array(["#000000", *colours])[:, :3]
    shown = np.where(labels == 0, 0, (labels.astype(int) - 1) % (len(rgb) - 1) + 1)
    opacity = np.where(labels == 0, 0, np.where(_border(labels), _EDGE, _FILL))
    pixels = np.dstack([255 * rgb[shown], opacity]).astype(np.uint8)
    return _encode(Image.fromarray(_hatched(pixels, hidden)))


def _hatched(pixels: Array, where: NDArray[np.bool_]) -> Array:
    """Return pixels (H, W, 4) with stripes from the lower left to the upper right somewhere."""
    row, column = np.indices(where.shape)
    stripes = np.array(_STRIPES, np.uint8)[(row + column) // 2 % 2]
    return np.where(where[..., None], stripes, pixels)


def _border(labels: Array) -> NDArray[np.bool_]:
    """Say which pixels have a neighbour of another class to a side, or the frame."""
    sides = ndimage.generate_binary_structure(2, 1)
    highest = ndimage.maximum_filter(labels, footprint=sides, mode="constant")
    lowest = ndimage.minimum_filter(labels, footprint=sides, mode="constant")
    border: NDArray[np.bool_] = highest != lowest
    return border


def _map(values: Array, top: float) -> str:
    """Encode values (H, W) from 0 to ``top`` in the colours of the figures, NaN hatched."""
    shades = np.rint(np.clip(values.astype(float) / top, 0, 1) * (_SHADES - 1)) / (_SHADES - 1)
    rgba = matplotlib.colormaps["magma"](shades, bytes=True)
    return _encode(Image.fromarray(_hatched(rgba, np.isnan(shades))))


def _encode(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, format="WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
