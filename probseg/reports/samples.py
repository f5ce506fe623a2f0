"""The samples of images as plain data, with pictures as data URIs, which the HTML pages show."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

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

_FILL, _EDGE = 90, 255  # opacity inside a segmentation and along its border, of 255
_ANNOTATORS = "#FFB000"
_STRIPES = (150, 150, 150, 255), (90, 90, 90, 255)  # where nobody labelled
_SHADES = 64  # of a map: finer than an eye can tell
Array = NDArray[Any]


def encode(
    annotations: Array,
    models: Mapping[str, Block],
    *,
    image: Array | None = None,
    colours: Mapping[str, str] | None = None,
    classes: int = 2,
    most: int | None = None,
) -> dict[str, Any]:
    """Return an image, its annotations and each model's samples of it, as plain data.

    Of more than two classes each has a colour, which is told under ``"classes"``. Pixels that
    nobody labelled are hatched; ``"unlabelled"`` says whether there are any.

    Args:
        annotations: (A, H, W) integer classes, masked where nobody labelled.
        models: Name to what the model said.
        image: (C, H, W), if there is one.
        colours: Of some models, ``"#rrggbb"``; the others get some of their own.
        classes: K, the background included.
        most: Masks of a side that are shown; mean and spread are those of all.
    """
    chosen = palette(models, colours)
    of_classes = {f"class {k}": CLASSES[(k - 1) % len(CLASSES)] for k in range(1, classes)}
    return {
        "image": "" if image is None else _shown(image),
        "classes": of_classes if classes > 2 else {},
        "unlabelled": bool(np.ma.is_masked(annotations)),
        "headings": map_headings(classes),
        "annotators": _answers(Block.of_annotations(annotations), _ANNOTATORS, classes, most),
        "models": {n: _answers(one, chosen[n], classes, most) for n, one in models.items()},
    }


def _answers(block: Block, colour: str, classes: int, most: int | None) -> dict[str, Any]:
    (pen,), labels = pens([colour], classes), block.labels[:most]
    return {
        "colour": colour,
        "samples": [_outlined(one, pen) for one in labels],
        "areas": [round(float((np.ma.filled(one, 0) > 0).mean()), 4) for one in labels],
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
