"""``KEY=VALUE`` as the command line gives it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from typing import Any

from probseg.errors import OptionError


def assigned(assignments: Iterable[str]) -> dict[str, Any]:
    """Return names and values from ``KEY=VALUE``, whose value is TOML, None or else a plain word.

    A key with dots sets a value within a mapping; of a key given twice the last value counts.

    Raises:
        OptionError: One is no assignment, or two contradict each other.

    >>> assigned(["size=64", "root=my/data", "layout=None", "size=32"])
    {'size': 32, 'root': 'my/data', 'layout': None}
    >>> assigned(["backbone.name=unet", "backbone.channels=[8, 16]"])
    {'backbone': {'name': 'unet', 'channels': [8, 16]}}
    """
    texts: dict[str, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise OptionError(
                f"--set takes KEY=VALUE, not {key!r}; anything else comes before --set"
            )
        texts[key.strip()] = text
    none = {key: None for key, text in texts.items() if text == "None"}  # TOML has no such word
    lines = (f"{key} = {_toml(text)}" for key, text in texts.items() if key not in none)
    try:
        return tomllib.loads("\n".join(lines)) | none
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"--set {' '.join(assignments)}: {error}") from error


def _toml(text: str) -> str:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return json.dumps(text)
    return text
