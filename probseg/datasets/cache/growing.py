"""A NumPy file that grows by rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


class GrowingArray:
    """An ``.npy`` file that rows are appended to; its header is set right on leaving.

    Written with ``write`` and not through a memory map, which a full disk would end by SIGBUS.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "wb")  # closed by __exit__
        self._header: dict[str, Any] = {}
        self._rows = 0

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            if self._header:
                self._file.seek(0)
                self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Append ``rows`` along the first axis."""
        rows = np.ascontiguousarray(rows)
        description = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
        if not self._header:
            self._header = {**description, "row": rows.shape[1:]}
            self._write_header()
        if {**description, "row": rows.shape[1:]} != self._header:
            raise ValueError(f"rows of {rows.dtype} {rows.shape[1:]} after {self._header}")
        self._file.write(rows.data)
        self._rows += len(rows)

    def _write_header(self) -> None:
        # NumPy pads a header so that its first axis may grow in place.
        shape = (self._rows, *self._header["row"])
        header = {k: v for k, v in self._header.items() if k != "row"} | {"shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
