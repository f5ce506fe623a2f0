"""Images and masks brought to one size, range and set of classes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError, OptionError

_LARGEST = 8192  # pixels along an edge
_MOST_VALUES = 4  # that a message lists

Size = tuple[int, int]


def check_size(size: int | Sequence[int] | None) -> Size | None:
    """Return the height and width that images are to be resized to.

    Raises:
        OptionError: It is neither an edge, nor a height and a width, of 1 to 8192 pixels, nor None.
    """
    if size is None:
        return None
    edges: list[Any] = [*size] if isinstance(size, (list, tuple)) else [size, size]
    whole = all(isinstance(edge, Integral) and not isinstance(edge, bool) for edge in edges)
    if not whole or len(edges) != 2 or not all(1 <= edge <= _LARGEST for edge in edges):
        raise OptionError(
            f"size must be an edge of 1 to {_LARGEST} pixels, (height, width) or None, not {size!r}"
        )
    return int(edges[0]), int(edges[1])


def resize_images(images: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize images (n, C, H, W) to (n, C, *size) float64 by antialiased linear interpolation.

    Images that have that size are returned as they are.
    """
    if images.shape[-2:] == size:
        return images
    return _interpolate(images.astype(np.float64), size, mode="bilinear", antialias=True)


def resize_masks(masks: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize class indices (n, A, H, W) to (n, A, *size) by nearest neighbour; the type is kept."""
    if masks.shape[-2:] == size:
        return masks
    values = masks if masks.dtype == np.uint8 else masks.astype(np.float64)  # which torch resizes
    return _interpolate(values, size, mode="nearest-exact").astype(masks.dtype)


def _interpolate(pixels: NDArray[Any], size: Size, **options: Any) -> NDArray[Any]:
    import torch  # takes seconds, which a process that resizes nothing need not spend

    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    return torch.nn.functional.interpolate(tensor, size, **options).numpy()


def stretch(images: NDArray[Any]) -> NDArray[np.float16]:
    """Stretch each channel of each image (n, C, H, W) to [0, 1]; a constant one becomes 0."""
    values = images.astype(np.float64)
    low = values.min((2, 3), keepdims=True, initial=np.inf)
    width = values.max((2, 3), keepdims=True, initial=-np.inf) - low
    stretched: NDArray[np.float64] = (values - low) / np.where(width > 0, width, 1)
    return stretched.astype(np.float16)


def check_finite(image: NDArray[Any]) -> None:
    """Check that all values of an image are finite.

    Raises:
        DataError: Some are NaN, infinite or beyond single precision.
    """
    limit = np.finfo(np.float32).max
    if image.dtype.kind == "f" and not (np.abs(image) <= limit).all():  # false for NaN
        raise DataError("has values that are NaN or infinite")


def as_labels(mask: NDArray[Any], classes: int = 2) -> NDArray[np.uint8]:
    """Return a mask of classes 0 to ``classes`` - 1, uint8; of two classes, 255 may stand for 1.

    >>> as_labels(np.array([[0.0, 255.0]])).tolist()
    [[0, 1]]

    Raises:
        DataError: It has other values, however close to a class.
    """
    mask = mask.astype(np.uint8) if mask.dtype == np.bool_ else mask
    scale = 255 if classes == 2 and mask.max() == 255 else 1
    if mask.min() >= 0 and mask.max() <= scale * (classes - 1):  # false for NaN
        labels = (mask // scale).astype(np.uint8)
        if np.array_equal(labels * np.uint8(scale), mask):
            return labels
    allowed = "0 and 1, or 0 and 255" if classes == 2 else f"0 to {classes - 1}"
    values = ", ".join(f"{value:.6g}" for value in _other_values(mask, classes))
    raise DataError(f"is no mask of {allowed}: it has the values {values}")


def _other_values(mask: NDArray[Any], classes: int) -> list[float]:
    allowed = [0, 1, 255] if classes == 2 else range(classes)
    values = np.unique(mask).tolist()
    return ([value for value in values if value not in allowed] or values)[:_MOST_VALUES]
