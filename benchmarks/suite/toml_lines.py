"""On which line of a TOML file something is said, which the standard library's parser forgets."""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

KeyPath = Sequence[str | int]  # keys of tables, and places in arrays


def line_of(text: str, path: KeyPath) -> int:
    r"""Return the line (from 1) on which the statement begins that first says ``path``.

    The parser itself is asked: a file cut off after a whole statement is a file, so the first cut
    that has the path ends with that statement.

    Args:
        text: A whole TOML document.
        path: Keys of tables and places in arrays, from the top.

    Raises:
        KeyError: The document does not say it.

    >>> line_of("[a]\nb = [\n  1,\n  2,\n]\n", ["a", "b", 1])
    2
    """
    lines = text.split("\n")  # not splitlines, whose further ends of lines TOML does not know
    cuts = range(len(lines) + 1)
    end = bisect_left(cuts, True, key=lambda cut: has(_parse(lines, cut)[1], path))
    if end == len(cuts):
        raise KeyError(path)
    return _parse(lines, end - 1)[0] + 1


def has(data: Any, path: KeyPath) -> bool:
    """Say whether nested tables and arrays have something at ``path``.

    >>> has({"a": [{"b": 1}]}, ["a", 0, "b"]), has({"a": 1}, ["a", "b"])
    (True, False)
    """
    for key in path:
        if isinstance(data, Mapping) and key in data:
            data = data[key]
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            return False
    return True


def _parse(lines: Sequence[str], cut: int) -> tuple[int, Any]:
    """Return the last place at or before ``cut`` that ends a statement, and what is said there."""
    for end in count(cut, -1):
        try:
            return end, tomllib.loads("".join(f"{line}\n" for line in lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
    raise AssertionError("an empty document is TOML")
