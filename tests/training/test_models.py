"""The published models train, and resume, like any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hierarchical_models import HIERARCHICAL, WITH_PYRAMID, options_of
from training_toys import Discs, quick

import probseg
from probseg.training import fit


def make(name: str, norm: str | None = "batch") -> Any:
    small = {"channels": (4, 8), "convolutions": 1, "norm": norm}
    torch.manual_seed(0)
    if name in WITH_PYRAMID:
        options = {**options_of(name), "pyramid": {"name": "unet", **small}, "scales": 1}
        return probseg.build(name, **{**options, "norm": norm})
    parts = {"backbone": {"name": "unet", **small}}
    if name != "deterministic":
        parts["encoder"] = {"name": "axis-aligned", **small}
    return probseg.build(name, **parts)


@pytest.mark.parametrize("name", probseg.models)
def test_training_in_two_parts_equals_training_at_once(name, tmp_path):
    data = Discs(12), Discs(4, seed=1)
    whole, parts = make(name), make(name)
    expected = fit(whole, *data, quick(max_steps=6))
    for steps in (3, 6):
        result = fit(parts, *data, quick(max_steps=steps), out=tmp_path)
    assert result.best_validation_loss == expected.best_validation_loss
    assert ("prior/gini" in result.history[0]) == hasattr(whole, "prior")
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["energy", *WITH_PYRAMID])
def test_two_processes_train_as_one(name, tmp_path):
    data = Discs(22), Discs(7, seed=1)
    plain = {"precision": "fp32", "channels_last": False, "batch_size": 5, "micro_batch": 2}
    alone, together = make(name, norm=None), make(name, norm=None)
    one = fit(alone, *data, quick(max_steps=4, **plain))
    two = fit(together, *data, quick(max_steps=4, devices=2, **plain), out=tmp_path)
    loss = one.history[-1]["validation/loss"]
    assert two.history[-1]["validation/loss"] == pytest.approx(loss, rel=1e-4)
    for mine, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["csae", "spu-net", *HIERARCHICAL])
def test_geco_chooses_the_weight_of_every_latent_model(name):
    (first, *_, last) = fit(make(name), Discs(12), Discs(4, seed=1), quick(geco=0.01)).history
    # the cross-entropy is far from its target, so its weight grows by 1 % a step
    assert first["train/geco_multiplier"] == pytest.approx((1 + 1.01 + 1.01**2) / 3, rel=1e-3)
    assert last["train/geco_multiplier"] > first["train/geco_multiplier"]
