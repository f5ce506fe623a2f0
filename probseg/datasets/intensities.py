"""How values in files become the values of images, mostly from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError, OptionError
from probseg.options import is_list

NORMALISE = ("stretch", "window", "percentiles", "none")
PERCENTILES = (0.5, 99.5)
Window = tuple[float, float]
_RANGES = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}  # of images in [0, 1]
_LARGEST_VALUE = 100  # that "none" leaves; networks learn nothing from far larger ones
_NEARLY_ALL = 0.99  # of an image's pixels, outside of a window
_WORDS = {
    None: "8-bit values from 0 to 255 become 0 to 1, any others each channel's own extremes",
    "stretch": "each channel's own extremes become 0 and 1",
    "window": "values from {0:g} to {1:g} become 0 to 1",
    "percentiles": "each channel's own percentiles {0:g} and {1:g} become 0 and 1",
    "none": "values are kept (8-bit and 16-bit ones as fractions of 255 and 65535)",
}


def value_range(kind: np.dtype[Any]) -> tuple[float, float] | None:
    """Return the values that are 0 and 1 where files hold whole numbers and nothing else is said.

    >>> value_range(np.dtype("u1")), value_range(np.dtype("f4"))
    ((0.0, 255.0), None)
    """
    return (0.0, float(_RANGES[kind])) if kind in _RANGES else None


def in_words(normalise: str | None, window: Window | None) -> str:
    """Say what becomes of values, for users."""
    if normalise == "none" and window:
        return f"values are kept, as fractions of {window[1]:g}"
    return _WORDS[normalise].format(*(window or PERCENTILES))


def scale(
    pixels: NDArray[Any], normalise: str, window: Window | None, remedy: str
) -> NDArray[np.float64]:
    """Return images (n, C, H, W) by ``"window"``, ``"percentiles"`` or ``"none"``.

    Args:
        pixels: As in the files.
        normalise: How.
        window: The values, or the percentiles, that become 0 and 1.
        remedy: What to do about values that are too large.

    Raises:
        DataError: Values are far too large to be left as they are.
    """
    values = pixels.astype(np.float64)
    if normalise == "none":
        return _kept(values, _RANGES.get(pixels.dtype, 1), remedy)
    low: Any
    low, high = window or PERCENTILES
    if normalise == "percentiles":
        low, high = np.percentile(values, [low, high], (2, 3), keepdims=True)
    width = np.where(high > low, high - low, 1)
    scaled: NDArray[np.float64] = np.clip((values - low) / width, 0, 1)
    return scaled


def faint(pixels: NDArray[Any], window: Window) -> NDArray[np.bool_]:
    """Return to which images (n, C, H, W) a window leaves nearly one value.

    99 % of the pixels lie below it, or above it, or all in a hundredth of it, save in an image
    of one value, which has no contrast to lose.
    """
    low, high = window
    outside = [ends.mean((1, 2, 3)) for ends in (pixels < low, pixels > high)]
    range_ = np.ptp(np.clip(pixels.astype(np.float64), low, high), (1, 2, 3))
    varied = pixels.max((1, 2, 3)) > pixels.min((1, 2, 3))
    flat = varied & (range_ < (1 - _NEARLY_ALL) * (high - low))
    faint: NDArray[np.bool_] = flat | (np.maximum(*outside) >= _NEARLY_ALL)
    return faint


def check_range(kind: np.dtype[Any], window: Window) -> None:
    """Check that whole numbers of a type have the range (0, 255) or (0, 65535) of others.

    Raises:
        DataError: They have another one.
    """
    if kind.kind in "iu" and (own := value_range(kind)) != window:
        values = f"of the range 0 to {own[1]:g}" if own else f"of type {kind}"
        bits = 8 if window[1] == _RANGES[np.dtype(np.uint8)] else 16
        raise DataError(
            f"has values {values}, where 0 to {window[1]:g} became 0 to 1; "
            f"convert it to integers of {bits} bits without sign"
        )


def check_window(normalise: str | None, window: Sequence[float] | None) -> Window | None:
    """Return the window that an option asks for, or the usual one.

    Raises:
        OptionError: It makes no sense.
    """
    if normalise == "percentiles" and window is None:
        return PERCENTILES
    if window is None and normalise != "window":
        return None
    if normalise == "none" and list(window or ()) in ([0, 255], [0, 65535]):
        return 0.0, float((window or ())[1])
    if normalise not in ("window", "percentiles"):
        raise OptionError(
            f'window goes with normalise="window" or "percentiles", not {normalise!r}'
        )
    if not is_window(window):
        raise OptionError(
            "window must be two finite numbers, the lower first, such as (-1000, 400), "
            f"not {window!r}"
        )
    low, high = (float(level) for level in window or ())
    if normalise == "percentiles" and not 0 <= low < high <= 100:
        raise OptionError(f"window must be two percentiles from 0 to 100, not {window!r}")
    return low, high


def is_window(value: Any) -> bool:
    """Return whether a value is two finite numbers, the lower first."""
    return is_list(value, Real, 2) and -math.inf < value[0] < value[1] < math.inf


def _kept(values: NDArray[np.float64], largest: int, remedy: str) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = values / largest
    if (extreme := np.abs(kept).max(initial=0)) > _LARGEST_VALUE:
        raise DataError(
            f'has values up to {extreme:g}, too large to be left as they are (normalise="none"); '
            f"{remedy}"
        )
    return kept
