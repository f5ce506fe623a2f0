"""Protocols: which images of which data are compared how, by a name that results can state.

>>> from probseg import protocols
>>> protocols.get("lidc-v2").counts["train"].images
8843
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from probseg.errors import UnknownNameError
from probseg.options import unknown
from probseg.protocols.protocol import Prepared, Protocol

__all__ = ["Prepared", "Protocol", "get", "names"]


def names() -> list[str]:
    """Return the names of all protocols."""
    return list(_all())


def get(name: str) -> Protocol:
    """Return a protocol.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in _all():
        raise UnknownNameError(unknown("protocol", name, _all()))
    return Protocol.of(name, _all()[name])


@cache
def _all() -> dict[str, dict[str, Any]]:
    text = files("probseg.protocols").joinpath("protocols.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    merged = {name: {**tables.get(own.get("like", ""), {}), **own} for name, own in tables.items()}
    return {
        name: {key: value for key, value in own.items() if key != "like"}
        for name, own in merged.items()
    }
