"""One step: the objective, the optimizer, clipping; and what the machine computes fast."""

from __future__ import annotations

import math

import pytest
import torch
from training_toys import Discs, ToyModel, make_model, quick

from probseg.errors import OptionError
from probseg.training import fit
from probseg.training.execution import choose_execution, has_fast_bf16
from probseg.training.module import TrainingModule


def test_one_step_equals_adam_with_l2_written_out(train, validation):
    """At the first step Adam moves by lr * g / (|g| + eps), g clipped, then the L2 term added."""
    settings = quick(max_steps=1, validate_every=1, augment=False, weight_decay=0.1, clip=1e-3)
    model = make_model(dropout=0.0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, train, validation, settings)
    bias = before["head.bias"]  # its gradient is clipped far below the weight decay
    expected = bias - 1e-2 * bias.sign()
    torch.testing.assert_close(model.head.bias, expected, rtol=0, atol=1e-4)


def test_clip_changes_the_run(train, validation):
    loose, tight = (fit(make_model(), train, validation, quick(clip=c)) for c in (1e6, 1e-6))
    assert loose.history[0]["train/gradient_norm"] > 1
    assert loose.history != tight.history


def test_a_model_without_a_prior_has_no_gini(train, validation):
    class Plain(type(make_model())):
        prior = property()  # hasattr says no

        def loss(self, image, label, *, generator=None):
            logits = self.logits(image, torch.zeros(len(image), 3))
            return {"cross_entropy": torch.nn.functional.cross_entropy(logits, label)}

    result = fit(Plain(), train, validation, quick(max_steps=3))
    assert "prior/gini" not in result.history[0]


def test_bf16_is_fast_where_the_processor_says_so():
    names = ("amx_bf16", "avx512_bf16")
    flags = torch.cpu.get_capabilities()
    assert has_fast_bf16(torch.device("cpu")) == any(flags.get(name, False) for name in names)
    assert not has_fast_bf16(torch.device("mps"))


@pytest.mark.parametrize(
    ("native", "capability", "fast"),
    [(True, (8, 0), True), (True, (9, 0), True), (True, (7, 5), False), (False, (8, 0), False)],
)
def test_bf16_is_fast_on_gpus_from_ampere_on(monkeypatch, native, capability, fast):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert has_fast_bf16(torch.device("cuda")) == fast


@pytest.mark.parametrize("fast", [False, True])
def test_auto_follows_the_machine_and_an_option_turns_it_off(monkeypatch, fast):
    monkeypatch.setattr("probseg.training.execution.has_fast_bf16", lambda device: fast)
    auto = choose_execution(quick(precision="auto", channels_last="auto"))
    assert (auto.bf16, auto.channels_last) == (fast, True)
    assert not any(choose_execution(quick(precision="fp32", channels_last=False))[1:])
    assert all(choose_execution(quick(precision="bf16", channels_last=True))[1:])


def test_a_missing_device_is_named():
    with pytest.raises(OptionError, match="device 'cuda:99' is not on this machine"):
        choose_execution(quick(device="cuda:99"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use CUDA here")
def test_of_a_gpu_that_torch_cannot_use_the_reason_is_told():
    with pytest.raises((RuntimeError, AssertionError)) as asked:  # no driver, one too old, no CUDA
        torch.zeros(1, device="cuda")
    with pytest.raises(OptionError) as told:
        choose_execution(quick(device="cuda"))
    assert str(asked.value).splitlines()[0].rstrip(".") in str(told.value)


class Recorder(ToyModel):
    """Remembers what it was given, in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[bool, list[tuple[torch.Tensor, torch.Tensor]]] = {True: [], False: []}

    def loss(self, image, label, *, generator=None):
        self.seen[self.training].append((image.clone(), label.clone()))
        return super().loss(image, label)


@pytest.mark.parametrize("augment", [False, True])
def test_each_step_draws_anew_and_each_round_validates_the_same(augment):
    model = Recorder()
    settings = quick(batch_size=1, validate_every=3, augment=augment)
    fit(model, Discs(1), Discs(5, seed=1), settings)
    images, labels = zip(*model.seen[True], strict=True)
    assert len({image.sum().item() for image in images}) == (12 if augment else 1)
    assert len({label.sum().item() for label in labels}) >= 3  # annotators, or their transforms
    rounds = [model.seen[False][start : start + 5] for start in range(0, 20, 5)]
    for image_and_label in zip(*rounds, strict=True):
        first_image, first_label = image_and_label[0]
        assert all(torch.equal(image, first_image) for image, _ in image_and_label)
        assert all(torch.equal(label, first_label) for _, label in image_and_label)


def test_flips_show_the_model_its_image_mirrored_and_turned():
    model = Recorder()
    fit(model, Discs(1), Discs(1), quick(batch_size=1, validate_every=3, augment="flips"))
    images = [image for image, _ in model.seen[True]]
    values = {tuple(image.flatten().sort().values.tolist()) for image in images}
    assert len(values) == 1  # no value is interpolated
    assert 1 < len({tuple(image.flatten().tolist()) for image in images}) <= 8


def test_a_cosine_falls_from_the_step_size_to_zero():
    made = TrainingModule(
        make_model(), quick(max_steps=8, schedule="cosine")
    ).configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    sizes = []
    for _ in range(9):
        sizes.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [quick().learning_rate * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(9)]
    assert sizes == pytest.approx(expected)
