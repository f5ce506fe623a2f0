"""The kinds of parts: what one is called, and the registry that holds them all."""

from __future__ import annotations

KINDS = {
    "model": "models",
    "backbone": "backbones",
    "encoder": "encoders",
    "projector": "projectors",
    "divergence": "divergences",
    "decoder": "decoders",
    "dataset": "datasets",
    "metric": "metrics",
}
# Options of a model that are parts, to the registry in which their names are looked up.
PARTS = {
    "backbone": "backbones",
    "encoder": "encoders",
    "projector": "projectors",
    "divergence": "divergences",
    "decoder": "decoders",
    "kl": "divergences",
}
