"""``KEY=VALUE`` as the command line gives it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from typing import Any

from probseg.errors import OptionError


def assigned(assignments: Iterable[str]) -> dict[str, Any]:
    """Return names and values from ``KEY=VALUE``, whose value is TOML, None or else a plain word.

    A key with dots sets a value within a mapping.

    Raises:
        OptionError: One is no assignment, or two contradict each other.

    >>> assigned(["size=64", "root=my/data", "layout=None"])
    {'size': 64, 'root': 'my/data', 'layout': None}
    >>> assigned(["backbone.name=unet", "backbone.channels=[8, 16]"])
    {'backbone': {'name': 'unet', 'channels': [8, 16]}}
    """
    pairs = [assignment.partition("=") for assignment in assignments]
    for key, equals, _ in pairs:
        if not equals:
            raise OptionError(
                f"--set takes KEY=VALUE, not {key!r}; anything else comes before --set"
            )
    none = {key.strip(): None for key, _, text in pairs if text == "None"}  # TOML has no such word
    lines = "\n".join(f"{key} = {_toml(text)}" for key, _, text in pairs if text != "None")
    try:
        found = tomllib.loads(lines)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"--set {' '.join(assignments)}: {error}") from error
    return {key.strip(): (found | none)[key.strip()] for key in _order(pairs)}


def _order(pairs: Iterable[tuple[str, str, str]]) -> dict[str, None]:
    return dict.fromkeys(
        key.strip() if text == "None" else key.split(".")[0] for key, _, text in pairs
    )


def _toml(text: str) -> str:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return json.dumps(text)
    return text
