"""Pickles of plain data only: built-in containers, numbers, strings and arrays; never code."""

from __future__ import annotations

import math
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError

_NUMERIC = re.compile(r"b1|f[248]|[iu][1248]")
_NDARRAY = "numpy.ndarray"  # stands for the class


def read_pickle(path: Path) -> Any:
    """Read a pickle of any protocol that holds plain data only.

    A pickle is a program: whatever else it asks for is refused before it is imported or called.
    NumPy's own unpickling does not run either: an array is a view of bytes that are in the file,
    which is held in memory as a whole.

    Raises:
        DataError: It asks for anything else and is unsafe, or it is damaged or no pickle.
    """
    try:
        with open(path, "rb") as file:
            return _with_arrays(_PlainUnpickler(file, os.fstat(file.fileno()).st_size).load())
    except _UnsafeError as error:
        raise DataError(
            f"{path} is unsafe: it asks for {error}, but data consist only of NumPy arrays of "
            "numbers, built-in containers, numbers and strings; none of it was run: get the file "
            "again from a source that you trust"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged pickle may raise anything, as Python documents
        raise DataError(f"{path} is not a complete pickle of plain data ({error!r})") from error


class _UnsafeError(Exception):
    """What a pickle asked for and must not have."""


class _PlainUnpickler(pickle._Unpickler):  # the one in C allocates whatever a file asks for
    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, encoding="latin1")  # reads bytes of Python 2 as strings
        self._size = self._remaining = size
        self._allowed: dict[tuple[str, str], Any] = {
            ("_codecs", "encode"): _Function(self._encode),
            ("numpy", "dtype"): _Function(_Type),
            ("numpy", "ndarray"): _NDARRAY,
        }
        for builtins in ("builtins", "__builtin__"):
            self._allowed[builtins, "bytes"] = _Function(lambda: b"")
        for core in ("numpy.core", "numpy._core"):
            self._allowed[f"{core}.multiarray", "_reconstruct"] = _Function(_Array)
            self._allowed[f"{core}.multiarray", "scalar"] = _Function(_scalar)
            self._allowed[f"{core}.numeric", "_frombuffer"] = _Function(_from_buffer)

    def find_class(self, module: str, name: str) -> Any:
        if (allowed := self._allowed.get((module, name))) is None:
            public = "os" if module in ("posix", "nt") else module
            raise _UnsafeError(f"{public}.{name}")
        return allowed

    def persistent_load(self, pid: Any) -> Any:
        raise _UnsafeError("an object outside of it (a persistent id)")

    def get_extension(self, code: int) -> Any:
        raise _UnsafeError(f"the registered extension {code}")

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        if size > self._size:  # Python's own method allocates it before it reads
            raise EOFError(f"claims {size} bytes, the file has {self._size}")
        self.append(bytearray(self.read(size)))  # type: ignore[attr-defined]

    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}  # type: ignore[dict-item]  # noqa: RUF012

    def _encode(self, text: str, encoding: str) -> bytes:
        """Return bytes, which protocols below 3 write as strings."""
        self._remaining -= len(text)
        if encoding != "latin1" or self._remaining < 0:  # repeating one string fills the memory
            raise ValueError("strings that are no bytes")
        return text.encode("latin1")


class _Function:
    """A function that a pickle may call but not change: it could set a function's defaults."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> None:
        raise _UnsafeError("a change of a function")


class _Type:
    """A numeric type; a real dtype would let a pickle turn numbers into addresses of objects."""

    __slots__ = ("dtype",)

    def __init__(self, name: str, align: object = False, copy: object = True) -> None:
        if not isinstance(name, str) or not _NUMERIC.fullmatch(name):
            raise _UnsafeError(f"values of the type {name!r}")
        self.dtype: np.dtype[Any] = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *parts = state[:5]
        if any(part is not None for part in parts) or order not in ("<", ">", "|", "="):
            raise _UnsafeError("values of a compound type")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array until its content comes."""

    __slots__ = ("array",)

    def __init__(self, kind: object, shape: object, code: object) -> None:
        if kind != _NDARRAY:
            raise _UnsafeError(f"an array of the class {kind!r}")
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, fortran, data = state[-4:]
        data = data.encode("latin1") if isinstance(data, str) else data
        self.array = _view(data, kind, shape, "F" if fortran else "C")


def _view(data: Any, kind: _Type, shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    """Return an array whose shape takes exactly the bytes that are there."""
    typed = isinstance(kind, _Type) and isinstance(data, (bytes, bytearray))
    if not typed or min(shape, default=0) < 0:
        raise ValueError("an array without its bytes, type or shape")
    if math.prod(shape) * kind.dtype.itemsize != len(data):
        raise ValueError(f"an array {shape} of {kind.dtype} in {len(data)} bytes")
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


def _from_buffer(
    data: Any, kind: _Type, shape: tuple[int, ...], order: str, axes: Any = None
) -> _Array:
    filled = _Array(_NDARRAY, shape, b"b")
    view = _view(data, kind, shape, "C" if axes is not None else order)
    filled.array = view if axes is None else view.transpose(axes)
    return filled


def _scalar(kind: _Type, data: Any) -> Any:
    return _view(data.encode("latin1") if isinstance(data, str) else data, kind, (1,), "C").item()


def _with_arrays(value: Any) -> Any:
    """Replace the stand-ins for arrays in lists and dictionaries, each of which is seen once."""
    top, seen = [value], set()
    waiting: list[Any] = [top]
    while waiting:
        container = waiting.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, item in list(pairs):
            if isinstance(item, _Array):
                container[key] = item.array
            elif isinstance(item, (dict, list)):
                waiting.append(item)
    return top[0]
