"""An image file as a model takes it: its values brought to [0, 1] as in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.files import in_file
from probseg.datasets.formats.images import Picture, read_picture, stem_and_suffix
from probseg.datasets.formats.preprocessing import check_finite, stretch
from probseg.errors import DataError, OptionError

_LARGEST = 1 << 28  # bytes of a file


class Scaling(NamedTuple):
    """How values become numbers from 0 to 1; what lies outside a window is cut off."""

    window: tuple[float, float] | None

    def __call__(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Scale pixels (C, H, W)."""
        scaled: NDArray[Any]
        if self.window:
            low, high = self.window
            scaled = np.clip((pixels.astype(np.float32) - low) / (high - low), 0, 1)
        elif pixels.dtype == np.uint8:
            scaled = pixels.astype(np.float32) / 255
        else:
            scaled = stretch(pixels[None])[0]
        return scaled.astype(np.float32)

    def __str__(self) -> str:
        """What is done, in words."""
        if self.window:
            return f"values from {self.window[0]:g} to {self.window[1]:g} become 0 to 1"
        return (
            "assuming data scaled as probseg's data sets are: 8-bit values from 0 to 255 become "
            "0 to 1, any others each channel's own extremes (--window LOW,HIGH otherwise)"
        )


class Image(NamedTuple):
    """One image that was read."""

    file: Path
    picture: Picture
    values: NDArray[np.float32]  # (C, H, W), from 0 to 1


def make_scaling(window: str | None) -> Scaling:
    """Return the scaling that the command line asks for.

    Raises:
        OptionError: The window is not two ascending numbers.

    >>> make_scaling("-1000,400").window
    (-1000.0, 400.0)
    """
    if window is None:
        return Scaling(None)
    try:
        low, high = (float(word) for word in window.split(","))
    except ValueError as error:
        raise OptionError(f"--window takes LOW,HIGH, such as -1000,400, not {window!r}") from error
    if not -np.inf < low < high < np.inf:
        raise OptionError(f"--window {window} is no range; the first number is the lower one")
    return Scaling((low, high))


def read_image(file: Path, scaling: Scaling) -> Image:
    """Read and scale one image.

    Raises:
        DataError: It is not there, not whole, or has values that are no numbers.
    """
    with in_file(str(file)):
        try:
            if file.stat().st_size > _LARGEST:
                raise DataError(f"has more than {_LARGEST} bytes")
            data = file.read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}") from error
        picture = read_picture(data, stem_and_suffix(file.name)[1])
        check_finite(picture.pixels)
    return Image(file, picture, scaling(picture.pixels))
