"""Where the pixels of an image go: into a frame of another size, and to its middle."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.preprocessing import Size

RESIZE = ("pad", "stretch", "crop")


class Placement(NamedTuple):
    """Where an image goes in a frame."""

    inner: Size  # that the image is resized to
    size: Size  # of the frame
    offset: tuple[int, int]  # of the image in the frame; negative where it stands out


def placed(native: Size, size: Size | None = None, resize: str | None = None) -> Placement:
    """Return where an image of a size goes in the frame that it is resized into.

    Args:
        native: (H, W) of the image.
        size: (H, W) of the frame; None is that of the image.
        resize: ``"pad"`` keeps the aspect and fills up, ``"crop"`` keeps it and cuts off what
            stands out, ``"stretch"`` does not keep it; None leaves the image as it is.

    >>> placed((1024, 811), (64, 64), "pad")
    Placement(inner=(64, 51), size=(64, 64), offset=(0, 6))
    >>> placed((50, 100), (25, 25), "crop")
    Placement(inner=(25, 50), size=(25, 25), offset=(0, -13))
    """
    if resize is None or size is None:
        return Placement(native, native, (0, 0))
    inner = size
    if resize != "stretch":
        scales = [new / old for new, old in zip(size, native, strict=True)]
        scale = min(scales) if resize == "pad" else max(scales)
        inner = (max(1, round(native[0] * scale)), max(1, round(native[1] * scale)))
    return Placement(inner, size, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))


def moved(
    pixels: NDArray[Any], size: Size, offset: tuple[int, int], *, fill: int = 0
) -> NDArray[Any]:
    """Return pixels (..., H, W) at an offset in a filled frame; what stands out is cut off.

    >>> moved(np.array([[1, 2], [3, 4]]), (2, 3), (-1, 1)).tolist()
    [[0, 3, 4], [0, 0, 0]]
    """
    if pixels.shape[-2:] == size and offset == (0, 0):
        return pixels
    frame: NDArray[Any] = np.full((*pixels.shape[:-2], *size), fill, pixels.dtype)
    there, here = zip(
        *(_overlap(*axis) for axis in zip(offset, pixels.shape[-2:], size, strict=True)),
        strict=True,
    )
    frame[(..., *there)] = pixels[(..., *here)]
    return frame


def _overlap(offset: int, length: int, frame: int) -> tuple[slice, slice]:
    start = max(offset, 0)
    stop = max(start, min(offset + length, frame))
    return slice(start, stop), slice(start - offset, stop - offset)


def crop_offset(size: Size, crop: Size) -> tuple[int, int]:
    """Return where the middle of an image begins; that of a middle is the middle itself.

    >>> crop_offset((96, 64), (20, 20))
    (38, 22)
    >>> crop_offset((96, 64), (41, 33)), crop_offset((41, 33), (20, 20))
    ((28, 16), (10, 6))
    """
    return size[0] // 2 - crop[0] // 2, size[1] // 2 - crop[1] // 2


def fitting(crop: Size | None, size: Size) -> Size:
    """Return the part of a crop that an image of a size has; None is all of the image.

    >>> fitting((4, 6), (3, 30)), fitting(None, (3, 30))
    ((3, 6), (3, 30))
    """
    wanted = crop or size
    return min(wanted[0], size[0]), min(wanted[1], size[1])


def middle(pixels: NDArray[Any], crop: Size | None) -> NDArray[Any]:
    """Return the middle of pixels (..., H, W); of pixels smaller than the crop, all there is."""
    size = (pixels.shape[-2], pixels.shape[-1])
    rows, columns = fitting(crop, size)
    top, left = crop_offset(size, (rows, columns))
    return pixels[..., top : top + rows, left : left + columns]
