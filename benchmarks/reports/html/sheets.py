"""Sheets of the sample browser: an image, its annotations and each model's answers as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.jobs.pictures import Picture as Page
from probseg.plots import palette

_FILL, _EDGE = 90, 255  # opacity inside a segmentation and along its border, of 255
_CLASSES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_ANNOTATORS = "#FFB000"
_SHADES = 64  # of a map: finer than an eye can tell
Array = NDArray[np.generic]


def sheet(pages: Mapping[str, Page]) -> dict[str, Any]:
    """Return an image, its annotations and what each model says of it, as plain data.

    Args:
        pages: Model to what it said of this image.
    """
    first = next(iter(pages.values()))
    masks = first["masks"]
    foreground = masks > 0
    colours = palette(pages)
    return {
        "image": _grey(first["image"]),
        "annotators": _answers(masks, foreground.mean(0), foreground.std(0), _ANNOTATORS),
        "models": {
            row: _answers(page["labels"], page["mean"], page["sd"], colours[row])
            for row, page in pages.items()
        },
    }


def _answers(labels: Array, mean: Array, sd: Array, colour: str) -> dict[str, Any]:
    return {
        "colour": colour,
        "samples": [_outlined(one, colour) for one in labels],
        "areas": [round(float((one > 0).mean()), 4) for one in labels],
        "mean": _map(mean, 1.0),
        "sd": _map(sd, 0.5),
    }


def _grey(image: Array) -> str:
    """Encode the first channel, its extremes aside from black to white."""
    plane = (image[0] if image.ndim == 3 else image).astype(float)
    low, high = np.percentile(plane, (0.5, 99.5))
    share = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    return _encode(Image.fromarray(np.rint(255 * share).astype(np.uint8)))


def _outlined(labels: Array, colour: str) -> str:
    """Encode a segmentation (H, W): each class filled lightly and bordered, nothing elsewhere."""
    rgb = matplotlib.colors.to_rgba_array(["#000000", colour, *_CLASSES])[:, :3]
    shown = np.where(labels == 0, 0, (labels.astype(int) - 1) % (len(rgb) - 1) + 1)
    opacity = np.where(labels == 0, 0, np.where(_border(labels), _EDGE, _FILL))
    pixels = np.dstack([255 * rgb[shown], opacity]).astype(np.uint8)
    return _encode(Image.fromarray(pixels))


def _border(labels: Array) -> NDArray[np.bool_]:
    """Say which pixels have a neighbour of another class to a side, or the frame."""
    framed = np.pad(labels, 1)
    middle = framed[1:-1, 1:-1]
    sides: Sequence[Array] = (
        *(framed[:-2, 1:-1], framed[2:, 1:-1]),
        *(framed[1:-1, :-2], framed[1:-1, 2:]),
    )
    return np.any([side != middle for side in sides], axis=0)


def _map(values: Array, top: float) -> str:
    """Encode values (H, W) from 0 to ``top`` in the colours of the figures."""
    shades = np.rint(np.clip(values.astype(float) / top, 0, 1) * (_SHADES - 1)) / (_SHADES - 1)
    rgba = matplotlib.colormaps["magma"](shades, bytes=True)
    return _encode(Image.fromarray(rgba[..., :3]))


def _encode(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, format="WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
