"""The speed topics of training and sampling, in tiny sizes."""

from __future__ import annotations

import pytest
import torch

from benchmarks.speed import families, sample, train
from benchmarks.speed.comparison import Disagreement, Settings
from benchmarks.speed.textbook import TextbookPUNet, copy_weights
from benchmarks.speed.timing import Machine

MACHINE = Machine(description={}, fp32=1e11, bf16=1e11, bandwidth=1e10)

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
    plain = train.Step(batch=2, size=16, device="cpu", plain=True)
    fast = train.Step(batch=2, size=16, device="cpu", precision="fp32")
    message = train.agree(fast.answer(), plain.answer(), precision="fp32")
    assert "loss and gradient to" in message
    before = [p.detach().clone() for p in fast.module.parameters()]
    fast.run()
    assert all(not torch.equal(p, b) for p, b in zip(fast.module.parameters(), before, strict=True))


@pytest.mark.slow
def test_a_step_in_bf16_is_ours_but_for_rounding():
    # an image of 16 × 16 is one pixel in the depth, and its gradient passes all roundings
    known = {"batch": 4, "size": 64, "device": "cpu"}
    plain = train.Step(**known, plain=True).answer()
    rounded = train.Step(**known, precision="bf16").answer()
    assert "bf16 against fp32" in train.agree(rounded, plain, precision="bf16")
    with pytest.raises(Disagreement):
        train.agree(rounded, plain, precision="fp32")


def test_another_network_is_noticed():
    ours = train.Step(batch=2, size=16, device="cpu", precision="fp32").answer()
    other = train.TextbookStep(batch=2, size=16, device="cpu")
    train.agree(ours, other.answer(), precision="fp32")
    with torch.no_grad():
        other.model.last.weight.mul_(1.5)
    with pytest.raises(Disagreement, match="loss or gradient differ"):
        train.agree(ours, other.answer(), precision="fp32")


def test_decoders_agree_in_processes_of_their_own():
    settings = Settings(machine=MACHINE, rounds=1, small=True)
    table = sample._decoding(settings, batch=2, count=3)
    assert [row.name for row in table.rows] == ["probseg", "textbook loop"]
    assert table.row("textbook loop").agreement.startswith("to ")


def test_samples_from_the_image_on_are_measured_in_bf16_too():
    settings = Settings(machine=MACHINE, rounds=1, small=True)
    table = sample._whole(settings, batch=2, count=3)
    assert [row.name for row in table.rows] == ["probseg", "probseg, bf16", "textbook"]
    for make in (sample.Sampling, sample.TextbookSampling):
        samples = make(batch=2, size=16, device="cpu", count=3).answer()
        assert samples.shape == (3, 2, 2, 16, 16)


def test_every_family_takes_a_step_and_samples():
    models = families.family_models()
    assert list(models)[:3] == ["punet", "2p-planar", "csae"] and "energy" in models
    for model in models.values():
        step = train.Step(batch=2, size=64, device="cpu", model=model)
        step.run()
        assert all(p.grad is not None for p in step.module.parameters() if p.requires_grad)
        samples = sample.Sampling(batch=1, size=64, device="cpu", count=2, model=model).answer()
        assert samples.shape == (2, 1, 2, 64, 64)


def test_gradients_of_many_samples_agree_with_those_layer_by_layer():
    sizes = {"batch": 2, "size": 8, "samples": 3, "device": "cpu"}
    tiles, layers = (
        families.Gradients(**sizes, layer_by_layer=whole).answer() for whole in (False, True)
    )
    assert abs(tiles).max() == 1
    assert sample.agree(tiles, layers).startswith("to ")
