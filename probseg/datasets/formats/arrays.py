"""Arrays in .npy files, read exactly or refused."""

from __future__ import annotations

import io
import math
from contextlib import suppress
from threading import Lock
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ATTEMPTS = 10
_HEADER = Lock()


def read_array(data: bytes) -> NDArray[Any]:
    """Decode an array of real numbers from a .npy file; safe for many threads.

    Raises:
        DataError: It is another file, damaged, or shorter than its header claims.
    """
    try:
        file = io.BytesIO(data)
        shape, by_columns, kind = _read_header(file)
        if kind.kind not in "buif":
            raise DataError(f"has elements of type {kind}, not real numbers")
        if math.prod(shape) * kind.itemsize > len(data) - file.tell():
            raise DataError(f"is truncated: it claims {'x'.join(map(str, shape))} elements")
        order: Literal["F", "C"] = "F" if by_columns else "C"
        return np.ndarray(shape, kind, data, file.tell(), order=order).copy(order="K")
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a header is parsed as Python, which fails in many ways
        raise DataError("is not a complete NumPy file") from error


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, whether the first index varies fastest, and the type of the elements.

    A header is Python, and threads that parse Python at one time disturb each other: CPython then
    raises SystemError, rarely (https://github.com/python/cpython/issues/106905). So our threads
    take turns, and those of other libraries are the reason for more than one attempt.
    """
    with _HEADER:
        for _ in range(_ATTEMPTS):
            with suppress(SystemError):
                file.seek(0)
                return _READERS[np.lib.format.read_magic(file)](file)
    raise DataError("cannot be read while other threads parse Python; try again")
