"""Damaged files: they are renamed and reported, never used and never deleted."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path

logger = logging.getLogger(__name__)


def set_aside(path: Path, reason: object) -> Path:
    """Rename a file or folder to the first free ``name-set-aside-1``, ``-2``, … and warn.

    Args:
        path: What is damaged, or made from other data.
        reason: As a user reads it.

    Returns:
        The new path.
    """
    names = (path.with_name(f"{path.stem}-set-aside-{n}{path.suffix}") for n in count(1))
    target = next(name for name in names if not name.exists())
    path.replace(target)
    logger.warning("set aside as %s: %s", target, reason)
    return target
