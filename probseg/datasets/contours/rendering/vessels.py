"""Vessels of the lung: branching trees in the plane, and dots where they cross it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from probseg.datasets.contours.rendering.window import SIZE, Pixels, Window

_FINE = 2  # sub-pixels a pixel, so that a vessel's edge is a partial volume
_TYPICAL = 0.7  # mm a pixel, for which the sizes below are meant


class Tree(NamedTuple):
    """A branching vessel that lies in the plane at one height."""

    picture: Pixels  # (H, W), 0 to 1
    height: float  # mm
    thickness: float  # mm


def vessels(window: Window, random: Generator) -> Pixels:
    """Draw how much of each pixel is a vessel.

    Args:
        window: The pixels to draw.
        random: Source of the vessels.

    Returns:
        (n, H, W), 0 to 1.
    """
    heights, scale = window.heights, _TYPICAL / window.spacing
    crossing = _crossing(heights, scale, random)
    for _ in range(random.poisson(5 + 0.15 * np.ptp(heights))):
        tree = _tree(window, scale, random)
        away = (heights - tree.height) / tree.thickness
        for slice_ in np.flatnonzero(np.abs(away) < 2):
            faded = tree.picture * np.float32(np.exp(-(away[slice_] ** 2)))
            np.maximum(crossing[slice_], faded, out=crossing[slice_])
    return crossing


def _tree(window: Window, scale: float, random: Generator) -> Tree:
    outwards = 0.0 if window.middle[0] > 0 else np.pi  # away from the hilum
    low, high = window.heights.min() - 3, window.heights.max() + 3
    width = scale * random.gamma(3, 0.7)
    image, draw = _canvas()
    x, y = random.uniform(-0.2 * SIZE, 1.2 * SIZE, 2).tolist()
    for path, thickness in _grow(x, y, outwards + random.normal(0, 0.8), width, random):
        draw.line([_FINE * place for place in path], 235, max(1, round(_FINE * thickness)))
    return Tree(_coarse(image), random.uniform(low, high), 0.8 + width / scale * _TYPICAL)


def _grow(
    x: float, y: float, direction: float, width: float, random: Generator
) -> Iterator[tuple[list[float], float]]:
    """Yield x, y, x, y, … of a bending branch and its width, then those that leave its end."""
    path, bend = [x, y], random.normal(0, 0.08)
    for turn in random.normal(bend, 0.12, random.integers(4, 10)).tolist():
        direction += turn
        x, y = x + 4.5 * math.cos(direction), y + 4.5 * math.sin(direction)
        path += [x, y]
    yield path, width
    if width > 0.75:
        for turn in random.normal(0, 0.5, random.integers(1, 3)).tolist():
            yield from _grow(x, y, direction + turn, 0.65 * width, random)


def _crossing(heights: Pixels, scale: float, random: Generator) -> Pixels:
    """Vessels that go through the slices and wander from one to the next."""
    count = random.poisson(28)
    place, drift = random.uniform(0, SIZE, (count, 2)), random.normal(0, 0.6, (count, 2))
    radii = scale * random.gamma(3, 0.28, (count, 1)) * random.uniform(1, 1.7, (count, 2))
    bright = random.integers(90, 235, count)
    return np.stack([_dots(place + drift * z, radii, bright) for z in heights])


def _dots(
    place: NDArray[np.float64], radii: NDArray[np.float64], bright: NDArray[np.int64]
) -> Pixels:
    image, draw = _canvas()
    boxes = np.hstack([place % SIZE - radii, place % SIZE + radii]) * _FINE
    for box, fill in zip(boxes.tolist(), bright.tolist(), strict=True):
        draw.ellipse(box, fill)
    return _coarse(image)


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (SIZE * _FINE, SIZE * _FINE))
    return image, ImageDraw.Draw(image)


def _coarse(image: Image.Image) -> Pixels:
    return np.asarray(image.reduce(_FINE), np.float32) / np.float32(255)
