"""The published models train, and resume, like any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_toys import Discs, quick

import probseg
from probseg.training import fit


def make(name: str) -> Any:
    small = {"channels": (4, 8), "convolutions": 1, "norm": "batch"}
    parts = {"backbone": {"name": "unet", **small}}
    if name != "deterministic":
        parts["encoder"] = {"name": "axis-aligned", **small}
    torch.manual_seed(0)
    return probseg.build(name, **parts)


@pytest.mark.parametrize("name", ["punet", "2p-planar", "csae", "spu-net", "deterministic"])
def test_training_in_two_parts_equals_training_at_once(name, tmp_path):
    data = Discs(12), Discs(4, seed=1)
    whole, parts = make(name), make(name)
    expected = fit(whole, *data, quick(max_steps=6))
    for steps in (3, 6):
        result = fit(parts, *data, quick(max_steps=steps), out=tmp_path)
    assert result.best_validation_loss == expected.best_validation_loss
    assert ("prior/gini" in result.history[0]) == (name != "deterministic")
    loaded = probseg.load(result.best_path)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[key]), key
        assert torch.equal(value, loaded.state_dict()[key]), key


@pytest.mark.parametrize("name", ["punet", "csae"])
def test_bf16_starts_from_the_same_loss(name):
    data = Discs(12), Discs(4, seed=1)
    losses = [
        fit(make(name), *data, quick(max_steps=1, precision=precision)).history[0]["train/loss"]
        for precision in ("bf16", "fp32")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
