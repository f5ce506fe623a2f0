"""Small hierarchical models that several tests share."""

from __future__ import annotations

from typing import Any

from probseg import build

NET = {"channels": [4, 6, 8, 8], "convolutions": 1}
PYRAMID = {"name": "unet", **NET}
HIERARCHICAL = ("hierarchical", "hierarchical-csae")  # with a posterior
WITH_PYRAMID = (*HIERARCHICAL, "hierarchical-energy")


def options_of(name: str, size: int = 16) -> dict[str, Any]:
    """Return the options of a small model, for images of a size where it needs one."""
    sized = {"image_size": size} if name == "hierarchical-csae" else {}
    return {"pyramid": PYRAMID, "scales": 3, "depth": 2, **sized}


def small_hierarchical(name: str = "hierarchical", *, size: int = 16, **options: Any) -> Any:
    """Build a hierarchical model of few weights."""
    return build(name, **{**options_of(name, size), **options})
