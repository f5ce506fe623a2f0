"""Give every model labels out of range on a device, and tell what became of it.

``python bad_labels.py cuda`` prints a line of JSON: model, value, method, what came, and whether
the device still works. It is a process of its own because a device assertion would take every later
test with it.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parent / "../helpers"))

from device_parts import LATENT, MODELS, data, on, tiny
from small_models import asked

from probseg.errors import InputError

VALUES = (255, 2, -1, -100, 2**40)


def outcome(name: str, value: int, method: str, device: str) -> str:
    """Say "error", "nan" or "accepted"."""
    model = tiny(name).to(device)
    image, label = on(device, *data())
    label[1, 3, 4] = value
    try:
        if method == "reconstruct":
            return "nan" if model.reconstruct(image, label).isnan().any() else "accepted"
        terms = model.loss(image, asked(model, label))
        total = sum(terms.values())
        total.backward()
        return "accepted" if total.isfinite() else "nan"
    except InputError:
        return "error"


def works(device: str) -> bool:
    """Whether the device computes."""
    return torch.ones(3, device=device).sum().item() == 3


def main(device: str) -> None:
    """Try everything."""
    for name, value, method in product(MODELS, VALUES, ("loss", "reconstruct")):
        if method == "loss" or name in LATENT:
            came = outcome(name, value, method, device)
            print(json.dumps([name, value, method, came, works(device)]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
