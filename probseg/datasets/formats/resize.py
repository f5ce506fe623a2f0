"""Images and masks brought to one size and range."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from probseg.errors import DataError, OptionError

_LARGEST = 8192  # pixels along an edge

Size = tuple[int, int]


def check_size(size: int | None) -> None:
    """Refuse an edge length that no data set can have.

    Raises:
        OptionError: It is no number of pixels from 1 to 8192, nor None.
    """
    if size is not None and not 1 <= size <= _LARGEST:
        raise OptionError(f"size is {size}; it is an edge of 1 to {_LARGEST} pixels, or None")


def resize_images(images: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize by antialiased linear interpolation.

    Args:
        images: (n, C, H, W).
        size: Height and width wanted.

    Returns:
        (n, C, *size) float64, or the images themselves if they have that size.
    """
    if images.shape[-2:] == size:
        return images
    pixels = torch.from_numpy(np.ascontiguousarray(images, np.float64))
    return interpolate(pixels, size, mode="bilinear", antialias=True).numpy()


def resize_masks(masks: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize class indices (n, A, H, W) to (n, A, *size) by nearest neighbour."""
    if masks.shape[-2:] == size:
        return masks
    pixels = torch.from_numpy(np.ascontiguousarray(masks))
    return interpolate(pixels, size, mode="nearest-exact").numpy()


def stretch(images: NDArray[Any]) -> NDArray[np.float16]:
    """Stretch each channel of each image (n, C, H, W) to [0, 1]; a constant one becomes 0."""
    values = images.astype(np.float64)
    low = values.min((2, 3), keepdims=True, initial=np.inf)
    width = values.max((2, 3), keepdims=True, initial=-np.inf) - low
    stretched: NDArray[np.float64] = (values - low) / np.where(width > 0, width, 1)
    return stretched.astype(np.float16)


def check_finite(image: NDArray[Any]) -> None:
    """Refuse an image that has no range.

    Raises:
        DataError: It has NaN, infinite or absurd values.
    """
    limit = np.finfo(np.float32).max
    if image.dtype.kind == "f" and not (np.abs(image) <= limit).all():  # false for NaN
        raise DataError("has values that are NaN or infinite")
