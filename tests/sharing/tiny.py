"""Models of a few weights, checkpoints written by hand, and packages that come and go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hierarchical_models import WITH_PYRAMID, options_of
from safetensors.torch import save_file

from probseg import build

NET = {"channels": [2, 4], "convolutions": 1}
PARTS: dict[str, Any] = {
    "backbone": {"name": "unet", **NET},
    "encoder": {"name": "axis-aligned", **NET},
    "decoder": {"name": "fcomb", "features": 4, "layers": 2},
    "latent_dim": 2,
}


def tiny(name: str = "csae", **options: Any) -> Any:
    """Build a model whose weights are all away from where they start."""
    fixed = {"backbone": PARTS["backbone"]} if name == "deterministic" else PARTS
    if name in WITH_PYRAMID:
        fixed = options_of(name)
    model = build(name, **{**fixed, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def written(path: Path, model: Any, **changes: Any) -> Path:
    """Write a file in the oldest format, which has no digest, with other parts of its spec."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    spec = json.dumps({**model.spec, **changes})
    save_file(state, path, metadata={"format": "probseg-1", "spec": spec})
    return path


def package(site: Path, name: str = "acme-flows", version: str = "1.2") -> Path:
    """Put a package with a projector called "acme" into a folder, as pip would."""
    module = name.replace("-", "_")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(f"[probseg.projectors]\nacme = {module}:acme\n")
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (site / f"{module}.py").write_text(
        "from probseg.projectors.planar import planar\n"
        "def acme(features: int, context_features: int):\n"
        "    return planar(features, context_features)\n"
    )
    return site
