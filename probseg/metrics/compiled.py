"""Loops over pixels that Numba compiles to machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of arrays when it is first called with arrays of a kind.

    That takes seconds, once: the machine code is kept beside the file or in the user's cache, if
    either can be written to; ``NUMBA_CACHE_DIR`` names another folder. It is made anew when the
    file changes, so that a compiled function calls none of another file.
    """
    try:
        return cast(Function, njit(function, cache=True, nogil=True))
    except RuntimeError:  # no such folder
        return cast(Function, njit(function, nogil=True))
