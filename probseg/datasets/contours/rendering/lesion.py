"""The nodule itself, from what its readers drew and how they rated it."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from probseg.datasets.contours.rendering.texture import smooth_field
from probseg.datasets.contours.rendering.window import SIZE, Pixels
from probseg.datasets.lidc.database import RATINGS
from probseg.datasets.lidc.nodules import READERS, Nodule

# Ratings 1 to 5 to what they look like; the words are those of the LIDC's scale.
_SOLID = (-580, -460, -300, -90, 30)  # texture, ground glass to solid: HU
_EDGE = (2.0, 1.6, 1.2, 1.0, 0.8)  # margin, poorly defined to sharp: standard deviation, pixels
_CONTRAST = (0.55, 0.65, 0.75, 0.88, 1.0)  # subtlety, extremely subtle to obvious
_NO_CALCIUM = 6
_MARGIN = 14  # pixels around the readers' masks that the nodule may touch


def add_lesion(
    hounsfield: Pixels, nodule: Nodule, masks: NDArray[np.uint8], random: Generator
) -> None:
    """Draw a nodule into a picture, so that it is as ambiguous as its readers were.

    Opacity follows the readers' mean mask, bent at random by about a pixel so that it shows no
    reader's own outline, and is weaker where fewer readers saw anything at all.

    Args:
        hounsfield: (n, H, W) attenuation in HU; changed in place.
        nodule: The nodule; its readers' mean ratings say what it looks like.
        masks: (n, A, H, W), one mask a reader.
        random: Source of what the ratings leave open.
    """
    mean = masks[:, : len(nodule.annotations)].mean(axis=1, dtype=np.float32)
    rows, columns = _around(mean)
    mean, rating = mean[:, rows, columns], _mean_ratings(nodule)
    opacity = _opacity(mean, rating, len(nodule.annotations) / READERS, random)
    attenuation = _attenuation(nodule, mean, rating, random)
    below = hounsfield[:, rows, columns]
    below += opacity * np.maximum(attenuation - below, 0)


def _around(mean: Pixels) -> tuple[slice, slice]:
    found = np.argwhere(mean.any(axis=0))
    if not len(found):
        found = np.full((1, 2), SIZE // 2)
    low, high = np.maximum(found.min(axis=0) - _MARGIN, 0), found.max(axis=0) + _MARGIN + 1
    return slice(low[0], high[0]), slice(low[1], high[1])


def _mean_ratings(nodule: Nodule) -> dict[str, float]:
    readers = [annotation.ratings for annotation in nodule.annotations]
    return {name: float(np.mean([reader[name] for reader in readers])) for name in RATINGS}


def _opacity(mean: Pixels, rating: dict[str, float], seen: float, random: Generator) -> Pixels:
    bent = _bend(mean, 0.6 + 0.7 * (1 - seen), random)
    edge = min(_at(rating["margin"], _EDGE), 0.45 * _radius(mean))  # small ones stay visible
    body = ndimage.gaussian_filter(bent, (0, edge, edge)) + _spicules(mean, rating, random)
    contrast = _at(rating["subtlety"], _CONTRAST) * (0.7 + 0.3 * seen)
    opacity: Pixels = np.clip(body * contrast, 0, 1)
    return opacity


def _radius(mean: Pixels) -> float:
    """Radius in pixels of a disc as large as the nodule is in its largest slice."""
    return float(np.sqrt((mean > 0.5 * mean.max()).sum(axis=(1, 2)).max() / np.pi))


def _bend(mean: Pixels, amount: float, random: Generator) -> Pixels:
    """Move the pixels of all slices by the same smooth field of ``amount`` pixels."""
    height, width = mean.shape[1:]
    places = np.mgrid[:height, :width] + amount * smooth_field((2, height, width), 5, random)
    return np.stack([ndimage.map_coordinates(m, places, order=1) for m in mean])


def _spicules(mean: Pixels, rating: dict[str, float], random: Generator) -> Pixels:
    """Lines out of the nodule, faint, which some readers would include."""
    count = round(4 * (rating["spiculation"] - 1))
    turns, lengths = random.uniform(0, 2 * np.pi, count), random.uniform(1.3, 2.2, count)
    rays = np.stack([np.cos(turns), np.sin(turns)], axis=1) * lengths[:, None]
    if not count:
        return np.zeros_like(mean)
    stars = np.stack([_star(m, rays) for m in mean]) * (mean < 0.5)
    spicules: Pixels = ndimage.gaussian_filter(stars, (0, 0.6, 0.6))
    return spicules


def _star(mean: Pixels, rays: NDArray[np.float64]) -> Pixels:
    image = Image.new("L", (2 * mean.shape[1], 2 * mean.shape[0]))
    draw = ImageDraw.Draw(image)
    if mean.any():
        middle = np.array(ndimage.center_of_mass(mean))[::-1]
        radius = np.sqrt(np.count_nonzero(mean > 0.5 * mean.max()) / np.pi)
        for end in middle + radius * rays:
            draw.line([*(2 * middle), *(2 * end)], 110, 2)
    return np.asarray(image.reduce(2), np.float32) / np.float32(255)


def _attenuation(
    nodule: Nodule, mean: Pixels, rating: dict[str, float], random: Generator
) -> Pixels:
    mottle = 25 + 35 * (5 - rating["texture"])  # HU; ground glass is uneven
    calcium = [part.ratings["calcification"] != _NO_CALCIUM for part in nodule.annotations]
    core = ndimage.gaussian_filter(mean, (0, 2.5, 2.5)) ** 2
    even: Pixels = _at(rating["texture"], _SOLID) + 650 * float(np.mean(calcium)) * core
    return even + mottle * smooth_field(mean.shape, 2, random)


def _at(rating: float, values: tuple[float, ...]) -> float:
    return float(np.interp(rating, range(1, 6), values))
