"""Pictures that look like CT, drawn from what radiologists recorded of nodules they saw in it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from probseg.datasets.contours.rendering.chest import chest
from probseg.datasets.contours.rendering.lesion import add_lesion
from probseg.datasets.contours.rendering.texture import ct_noise, smooth_field
from probseg.datasets.contours.rendering.vessels import vessels
from probseg.datasets.contours.rendering.window import SIZE, Pixels, Window, window_around
from probseg.datasets.lidc.nodules import Nodule

VERSION = 1  # grows with any change of what is drawn
_BLOOD = np.float32(40)  # HU of a vessel
_POINT_SPREAD = 0.55  # standard deviation, pixels
_UNEVEN = 20  # HU that aerated lung varies by


def render(nodule: Nodule, window: Window, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a nodule's slices; the same nodule gives the same pictures.

    Args:
        nodule: The nodule.
        window: Its slices and the pixels around it.
        masks: (n, A, SIZE, SIZE), one mask a slice and reader.

    Returns:
        (n, SIZE, SIZE) pictures, each stretched to its own minimum and maximum.
    """
    random = _random(nodule)
    around, lung = chest(window, random)
    around = around + _UNEVEN * lung * smooth_field((1, SIZE, SIZE), 4, random)
    hounsfield: Pixels = around + lung * vessels(window, random) * (_BLOOD - around)
    add_lesion(hounsfield, nodule, masks, random)
    hounsfield = ndimage.gaussian_filter(hounsfield, (0, _POINT_SPREAD, _POINT_SPREAD))
    return _stretch(hounsfield + ct_noise(masks[:, 0].shape, random))


def _random(nodule: Nodule) -> Generator:
    digest = hashlib.blake2b(str(nodule).encode(), digest_size=8).digest()
    return np.random.default_rng([VERSION, int.from_bytes(digest, "little")])


def _stretch(hounsfield: Pixels) -> NDArray[np.uint8]:
    hounsfield = np.maximum(hounsfield, -1024)  # the least value that a scanner stores
    low, high = (f(hounsfield, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    grey: NDArray[np.uint8] = ((hounsfield - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
    return grey


__all__ = ["SIZE", "VERSION", "Window", "render", "window_around"]
