"""Setting aside what cannot be used: it is named and renamed, never mixed in, never deleted."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path

logger = logging.getLogger(__name__)


def set_aside(path: Path, because: object) -> Path:
    """Rename a file or folder to the first free ``name-set-aside-1``, ``-2``, … and say why.

    Args:
        path: What is in the way.
        because: The reason, as a user reads it.

    Returns:
        Where it lies now.
    """
    names = (path.with_name(f"{path.stem}-set-aside-{n}{path.suffix}") for n in count(1))
    aside = next(name for name in names if not name.exists())
    path.replace(aside)
    logger.warning("set aside as %s: %s", aside, because)
    return aside
