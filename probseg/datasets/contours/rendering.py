"""Pictures that look like CT, drawn from contours and ratings: background, nodule and noise."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import fft, ndimage

from probseg.datasets.contours.anatomy import SIZE, Pixels, Window, chest, vessels
from probseg.datasets.lidc.nodules import RATINGS, READERS, Nodule

VERSION = 1  # raised with any change of the drawing
_BLOOD = np.float32(40)  # HU of a vessel
_POINT_SPREAD = 0.55  # standard deviation, pixels
_UNEVEN = 20  # HU that aerated lung varies by

# Appearance for the ratings 1 to 5, named as on LIDC's scale.
_SOLID = (-580, -460, -300, -90, 30)  # texture, ground glass to solid: HU
_EDGE = (2.0, 1.6, 1.2, 1.0, 0.8)  # margin, poorly defined to sharp: standard deviation, pixels
_CONTRAST = (0.55, 0.65, 0.75, 0.88, 1.0)  # subtlety, extremely subtle to obvious
_NO_CALCIUM = 6
_MARGIN = 14  # pixels around the readers' masks that the nodule may touch


def render(nodule: Nodule, window: Window, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a nodule's slices (n, SIZE, SIZE), each stretched to its own range, for masks (n, A, …).

    The same nodule gives the same pictures.
    """
    random = _random(nodule)
    around, lung = chest(window, random)
    around = around + _UNEVEN * lung * _smooth_field((1, SIZE, SIZE), 4, random)
    hounsfield: Pixels = around + lung * vessels(window, random) * (_BLOOD - around)
    _add_lesion(hounsfield, nodule, masks, random)
    hounsfield = ndimage.gaussian_filter(hounsfield, (0, _POINT_SPREAD, _POINT_SPREAD))
    return _stretch(hounsfield + _ct_noise(masks[:, 0].shape, random))


def _random(nodule: Nodule) -> Generator:
    digest = hashlib.blake2b(str(nodule).encode(), digest_size=8).digest()
    return np.random.default_rng([VERSION, int.from_bytes(digest, "little")])


def _stretch(hounsfield: Pixels) -> NDArray[np.uint8]:
    hounsfield = np.maximum(hounsfield, -1024)  # the least value that a scanner stores
    low, high = (f(hounsfield, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    grey: NDArray[np.uint8] = ((hounsfield - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
    return grey


def _add_lesion(
    hounsfield: Pixels, nodule: Nodule, masks: NDArray[np.uint8], random: Generator
) -> None:
    """Draw a nodule into pictures (n, H, W) in HU, as ambiguous as its readers' masks (n, A, H, W).

    Opacity follows the readers' mean mask, bent at random by about a pixel so that it shows no
    reader's own outline, and is weaker where fewer readers annotated anything. The readers' mean
    ratings determine the appearance.
    """
    mean = masks[:, : len(nodule.annotations)].mean(axis=1, dtype=np.float32)
    rows, columns = _around(mean)
    mean, rating = mean[:, rows, columns], _mean_ratings(nodule)
    opacity = _opacity(mean, rating, len(nodule.annotations) / READERS, random)
    attenuation = _attenuation(nodule, mean, rating, random)
    below = hounsfield[:, rows, columns]
    below += opacity * np.maximum(attenuation - below, 0)


def _around(mean: Pixels) -> tuple[slice, slice]:
    inside = np.argwhere(mean.any(axis=0))
    if not len(inside):
        inside = np.full((1, 2), SIZE // 2)
    low, high = np.maximum(inside.min(axis=0) - _MARGIN, 0), inside.max(axis=0) + _MARGIN + 1
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
    grid = np.mgrid[:height, :width] + amount * _smooth_field((2, height, width), 5, random)
    return np.stack([ndimage.map_coordinates(m, grid, order=1) for m in mean])


def _spicules(mean: Pixels, rating: dict[str, float], random: Generator) -> Pixels:
    """Faint lines out of the nodule, which some readers would include."""
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
    return even + mottle * _smooth_field(mean.shape, 2, random)


def _at(rating: float, values: tuple[float, ...]) -> float:
    return float(np.interp(rating, range(1, 6), values))


def _smooth_field(shape: tuple[int, ...], width: float, random: Generator) -> Pixels:
    """Return Gaussian fields (n, H, W) of unit standard deviation, smooth over ``width`` pixels."""
    white = random.standard_normal(shape, np.float32)
    field: Pixels = ndimage.gaussian_filter(white, (0, width, width), mode="wrap")
    return field * np.float32(2 * np.sqrt(np.pi) * width)  # 1 / norm of a Gaussian kernel


def _ct_noise(shape: tuple[int, int, int], random: Generator) -> Pixels:
    """Return the noise of a scan (n, H, W) in HU: a reconstruction kernel's grain, and streaks."""
    y = fft.fftfreq(shape[1]).astype(np.float32)[:, None]
    x = fft.rfftfreq(shape[2]).astype(np.float32)[None]
    sharp, dose = random.uniform(0.4, 0.9), random.gamma(6, 4)
    grain = _gauss(y, x, sharp, sharp) - 0.8 * _gauss(y, x, 2.5, 2.5)  # little of low frequency
    kernel = grain + random.uniform(0, 1) * _gauss(y, x, 0.6, 5)
    kernel *= dose / math.sqrt(float(np.mean(kernel**2)))
    white = random.standard_normal(shape, np.float32)
    noise: Pixels = fft.irfft2(fft.rfft2(white) * kernel, shape[1:])
    return noise


def _gauss(y: Pixels, x: Pixels, height: float, width: float) -> Pixels:
    return np.exp(-2 * np.pi**2 * ((y * height) ** 2 + (x * width) ** 2))
