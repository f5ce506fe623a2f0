"""Loops over pixels that Numba compiles to machine code, and the bounding box of a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of arrays at its first call with arrays of each type.

    This takes seconds, once: the machine code is cached beside the file or in the user's cache
    folder, if either is writable; ``NUMBA_CACHE_DIR`` names another folder. The code is compiled
    again only when its own file changes, so a compiled function must not call one of another file.
    """
    try:
        return cast(Function, njit(function, cache=True, nogil=True))
    except RuntimeError:  # no writable folder
        return cast(Function, njit(function, nogil=True))


@compiled
def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the smallest box around the true pixels of (H, W): top, bottom, left, right.

    Bottom and right are exclusive; all four are zero if no pixel is true.
    """
    height, width = mask.shape
    columns = np.zeros(width, np.bool_)
    top, bottom = height, 0
    for y in range(height):
        if mask[y].any():
            columns |= mask[y]
            top, bottom = min(top, y), y + 1
    inside = np.flatnonzero(columns)
    if len(inside) == 0:
        return 0, 0, 0, 0
    return top, bottom, inside[0], inside[-1] + 1
