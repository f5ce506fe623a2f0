"""The speed topics of training, sampling and growth, in tiny sizes."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from benchmarks.speed import growth, sample, train
from benchmarks.speed.contest import Disagreement
from benchmarks.speed.machine import Machine
from benchmarks.speed.options import Options
from benchmarks.speed.textbook import TextbookPUNet, copy_weights

MACHINE = Machine(description={}, fp32=1e11, bf16=1e11, bandwidth=1e10)
PEER = importlib.util.find_spec("lightning_uq_box") is not None

pytestmark = pytest.mark.usefixtures("quick_starts")


def test_the_textbook_has_the_loss_of_probseg():
    model, textbook = train.build("punet"), TextbookPUNet()
    copy_weights(model, textbook)
    image, label = train.images(2, 32)
    torch.manual_seed(0)
    ours = sum(model.loss(image, label).values())
    torch.manual_seed(0)
    torch.testing.assert_close(textbook.loss(image, label), ours, rtol=1e-5, atol=0)


def test_the_textbook_samples_probabilities():
    samples = TextbookPUNet().sample(train.images(2, 32)[0], 3)
    assert samples.shape == (3, 2, 2, 32, 32)
    torch.testing.assert_close(samples.sum(2), torch.ones(3, 2, 32, 32))


def test_a_step_changes_the_weights_and_is_ours_only_in_layout():
    plain = train.Ours(batch=2, size=16, device="cpu", plain=True)
    fast = train.Ours(batch=2, size=16, device="cpu", precision="fp32")
    said = train._agree(train.SAME)(fast.answer(), plain.answer())
    assert "loss and gradient to" in said
    before = [p.detach().clone() for p in fast.module.parameters()]
    fast.run()
    assert all(not torch.equal(p, b) for p, b in zip(fast.module.parameters(), before, strict=True))


def test_a_step_in_bf16_is_ours_but_for_rounding():
    # an image of 16 × 16 is one pixel in the depth, and its gradient passes all roundings
    known = {"batch": 4, "size": 64, "device": "cpu"}
    plain = train.Ours(**known, plain=True).answer()
    rounded = train.Ours(**known, precision="bf16").answer()
    assert "bf16 against fp32" in train._agree(train.ROUNDED)(rounded, plain)
    with pytest.raises(Disagreement):
        train._agree(train.SAME)(rounded, plain)


def test_another_network_is_noticed():
    ours = train.Ours(batch=2, size=16, device="cpu", precision="fp32").answer()
    other = train.Textbook(batch=2, size=16, device="cpu")
    train._agree(train.SAME)(ours, other.answer())
    with torch.no_grad():
        other.model.last.weight.mul_(1.5)
    with pytest.raises(Disagreement, match="loss or gradient differ"):
        train._agree(train.SAME)(ours, other.answer())


def test_decoders_agree_in_processes_of_their_own():
    contest = sample._decoding(Options(machine=MACHINE, rounds=1, small=True), batch=2, count=3)
    names = [row.name for row in contest.rows]
    assert names[:3] == ["probseg", "probseg, one by one", "textbook loop"]
    assert all(row.agreement.startswith("to ") for row in contest.rows[1:])
    assert ("lightning-uq-box loop" in contest.missing) != PEER


def test_growth_is_drawn_with_a_panel_an_axis():
    axes = growth._axes(Options(machine=MACHINE, small=True))
    assert [axis.symbol for axis in axes] == ["H = W", "B", "L", "N", "N", "A"]
    for axis in axes:
        for make in axis.makers.values():
            make(**axis.options(axis.values[1])).run()
