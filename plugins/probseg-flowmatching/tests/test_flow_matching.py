"""Flow matching: the contract of every model, and the samples that it is to have."""

import os
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import probseg
from probseg.errors import ExportError, InputError, OptionError
from probseg.testing import checks
from probseg.training.gradients import accumulate, clip
from probseg_flowmatching import FlowMatching, PixelwiseNormal
from probseg_flowmatching import model as module

UNET = {"name": "unet", "channels": [8, 16], "convolutions": 1, "norm": "group"}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _small(**options):
    return FlowMatching(**{"backbone": UNET, "velocity": UNET, "steps": 3, **options})


def _perturbed(model):
    """Return it with a velocity network that is not zero at its end, as after training."""
    nn.init.normal_(model.velocity.logits.weight)
    return model


def _generator():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("check", checks["model"], ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check({"name": "flow-matching", "backbone": {**UNET, "channels": [16, 32]}})


def test_the_base_has_the_moments_of_the_classes():
    logits = torch.tensor([0.5, -1.0, 2.0])
    base = PixelwiseNormal.of_logits(logits.view(1, 3, 1, 1), noise=2.0)
    share = logits.softmax(0)
    each = 2 * torch.eye(3) - 1  # the three states that a pixel can have
    mean = share @ each
    variance = share @ (each - mean).square()
    torch.testing.assert_close(base.mean.flatten(), mean)
    torch.testing.assert_close(base.scale.flatten(), 2 * (variance + 0.01).sqrt())
    states = base.sample(100_000).flatten(1)
    torch.testing.assert_close(states.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(states.std(0), base.scale.flatten(), atol=0.03, rtol=0)


def test_only_its_own_term_trains_the_base():
    model = _perturbed(_small())
    image, label = torch.rand(2, 1, 8, 8), torch.randint(2, (2, 8, 8))
    model.loss(image, label)["flow_matching"].backward()
    assert model.base_logits.weight.grad is None
    assert model.condition.weight.grad.any()
    model.loss(image, label)["base"].backward()
    assert model.base_logits.weight.grad.any()


def test_the_loss_is_the_cross_entropy_of_the_end_of_a_straight_path(monkeypatch):
    model = _small(classes=3, noise=0.5)
    seen = {}

    def velocity(state, time, base, condition):
        seen.update(state=state, time=time, base=base)
        return torch.randn(state.shape, generator=_generator())

    monkeypatch.setattr(model.velocity, "forward", velocity)
    label = torch.randint(3, (4, 6, 6))
    label[:, :, :2] = 255
    found = model.loss(torch.rand(4, 1, 6, 6), label, ignore_index=255)["flow_matching"]
    logits = velocity(**{**seen, "condition": None})
    wanted = nn.functional.cross_entropy(logits, label, ignore_index=255, reduction="sum") / 4
    torch.testing.assert_close(found, wanted)
    # the noise that a state holds is what is left of it without mean and end
    time = seen["time"].view(4, 1, 1, 1)
    end = 2 * nn.functional.one_hot(label[:, :, 2:], 3).movedim(-1, 1).float() - 1
    base = PixelwiseNormal(*(part[..., 2:] for part in seen["base"]))
    rest = seen["state"][..., 2:] - time * end - (1 - time) * base.mean
    noise = rest / ((1 - time) * base.scale)
    assert abs(noise.mean()) < 0.15 and 0.85 < noise.std() < 1.15
    assert ((seen["time"] * 4).floor() == torch.arange(4)).all()  # spread over the batch


def test_what_nobody_labelled_moves_to_a_class_of_the_base_and_counts_for_nothing(monkeypatch):
    monkeypatch.setattr(module, "_spread_times", lambda states: states.new_ones(len(states)))
    model = _small()
    states = []
    model.velocity.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    image, label = torch.rand(1, 1, 8, 8), torch.full((1, 8, 8), 255)
    terms = model.loss(image, label, ignore_index=255, generator=_generator())
    assert all(term == 0 for term in terms.values())
    sum(terms.values()).backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)
    assert torch.equal(states[0].abs(), torch.ones(1, 2, 8, 8)) and not states[0].sum(1).any()
    assert 0 < (states[0][:, 1] > 0).sum() < 64


def test_classes_of_the_base_are_drawn_with_their_probabilities():
    logits = torch.tensor([0.5, -1.0, 2.0]).view(1, 3, 1, 1).expand(1, 3, 200, 200)
    drawn = PixelwiseNormal.of_logits(logits, noise=1.0).classes()
    found = torch.bincount(drawn.flatten(), minlength=3) / drawn.numel()
    torch.testing.assert_close(found, logits[0, :, 0, 0].softmax(0), atol=0.01, rtol=0)


@pytest.mark.parametrize(("n", "steps"), [(1, 1), (5, 2), (9, 3)])
def test_the_base_is_computed_once_for_all_samples_and_steps(n, steps, monkeypatch):
    monkeypatch.setattr(module, "_PIXELS", 4 * 2 * 64)  # four samples of two images
    model = _small().eval()
    calls = {"backbone": [], "base_logits": [], "condition": [], "velocity": []}
    for name, sizes in calls.items():
        getattr(model, name).register_forward_hook(
            lambda _, given, __, sizes=sizes: sizes.append(len(given[0]))
        )
    model.sample(torch.rand(2, 1, 8, 8), n, steps=steps)
    assert all(calls[name] == [2] for name in ("backbone", "base_logits", "condition"))
    assert len(calls["velocity"]) == steps * -(-n // 4)
    assert max(calls["velocity"]) <= 8  # however many samples there are


def test_samples_do_not_depend_on_how_many_are_computed_together(monkeypatch):
    model, image = _perturbed(_small()).eval(), torch.rand(2, 1, 9, 7)
    together = model.sample(image, 5, generator=_generator())
    monkeypatch.setattr(module, "_PIXELS", 1)
    torch.testing.assert_close(model.sample(image, 5, generator=_generator()), together)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_samples_are_probabilities_with_either_method(method, classes, dtype):
    model = _perturbed(_small(classes=classes)).eval().to(dtype)
    samples = model.sample(torch.rand(1, 1, 8, 8, dtype=dtype), 3, method=method)
    assert samples.dtype == max(dtype, torch.float32, key=lambda kind: kind.itemsize)
    assert samples.min() >= 0
    torch.testing.assert_close(samples.sum(2), torch.ones_like(samples.sum(2)))


def test_steps_and_method_are_the_models_unless_the_call_has_others():
    model, image = _perturbed(_small(steps=4, method="midpoint")).eval(), torch.rand(1, 1, 8, 8)
    own = model.sample(image, 2, generator=_generator())
    asked = model.sample(image, 2, generator=_generator(), steps=2, method="euler")
    assert not torch.equal(own, asked)
    model.steps, model.method = 2, "euler"
    assert torch.equal(model.sample(image, 2, generator=_generator()), asked)


def test_sampling_in_training_mode_changes_no_statistics():
    batch_norm = {**UNET, "norm": "batch"}
    model = _small(velocity=batch_norm, backbone=batch_norm).train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.sample(torch.rand(2, 1, 8, 8), 2)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


# --- hostile images, labels and options ---

STEPS = int(os.environ.get("PROBSEG_STEPS", "10"))
_BF16 = torch.bfloat16


class _Hostile(NamedTuple):
    image: Tensor
    label: Tensor
    options: dict[str, Any] = {}  # noqa: RUF012  # of the model; nobody writes to it
    logits: float = 1.0  # factor on the base's logits
    amp: torch.dtype | None = None  # of autocast


def _noise(images=2):
    return torch.rand(images, 1, 16, 16, generator=_generator())


def _drawn(images=2):
    return (_noise(images)[:, 0] > 0.6).long()


_EMPTY = torch.zeros(2, 16, 16, dtype=torch.long)
_HALF = torch.where(torch.arange(16) < 8, _drawn(), 255)
_PIXEL = nn.functional.pad(torch.full((2, 1, 1, 1), 1e6), (8, 7, 8, 7))
_NO_NORM = {**UNET, "norm": None}
HOSTILE = {
    "bf16": _Hostile(_noise(), _drawn(), amp=_BF16),
    "bf16, one million": _Hostile(1e6 * _noise(), _drawn(), amp=_BF16),
    "constant": _Hostile(torch.full_like(_noise(), 1e3), _drawn()),
    "denormals": _Hostile(1e-40 * _noise(), _drawn()),
    "empty labels": _Hostile(_noise(), _EMPTY),
    "extreme logits": _Hostile(_noise(), _drawn(), logits=1e4),
    "five classes": _Hostile(1e6 * _noise(), _drawn() * 4, {"classes": 5}),
    "half unlabelled, one million": _Hostile(1e6 * _noise(), _HALF),
    "little noise": _Hostile(1e6 * _noise(), _drawn(), {"noise": 1e-3}),
    "midpoint, one step": _Hostile(_noise(), _drawn(), {"method": "midpoint", "steps": 1}),
    "minus one million": _Hostile(-1e6 * _noise(), _drawn()),
    "much noise": _Hostile(1e6 * _noise(), _drawn(), {"noise": 1e3}),
    "no normalisation, one million": _Hostile(1e6 * _noise(), _drawn(), {"velocity": _NO_NORM}),
    "nobody's labels": _Hostile(_noise(), _EMPTY + 255),
    "one image": _Hostile(_noise(1), _drawn(1)),
    "one million": _Hostile(1e6 * _noise(), _drawn()),
    "one million, empty labels": _Hostile(1e6 * _noise(), _EMPTY),
    "one pixel of a million": _Hostile(_PIXEL, _drawn()),
    "zero": _Hostile(0 * _noise(), _drawn()),
}


# it warns of the very scales that are tried here
@pytest.mark.filterwarnings("ignore::probseg.utils.model_inputs.ScaleWarning")
@pytest.mark.parametrize("case", list(HOSTILE.values()), ids=list(HOSTILE))
def test_nothing_becomes_nan_or_infinite(case):
    """Losses, gradients and weights of each step, as ``fit`` takes it; the samples in the end."""
    model = _small(backbone=_NO_NORM, **case.options)
    with torch.no_grad():
        model.base_logits.weight.mul_(case.logits)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss = partial(model.loss, ignore_index=255)
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", case.amp or _BF16, enabled=case.amp is not None):
            done = accumulate(loss, case.image, case.label, chunk=2, backward=Tensor.backward)
        assert all(term.isfinite() for term in done.terms.values()), (step, done)
        assert clip(optimizer, 1.0).total.isfinite(), step
        optimizer.step()
        assert all(weight.isfinite().all() for weight in model.parameters()), step
    samples = model.eval().sample(case.image, 3)
    torch.testing.assert_close(samples.sum(2), torch.ones_like(samples[:, :, 0]))


def test_it_has_no_latent_space_and_is_not_exported(tmp_path):
    from probseg.sharing.export import save_onnx

    model = _small()
    assert isinstance(model, probseg.interfaces.Model)
    assert not isinstance(model, probseg.interfaces.LatentModel)
    with pytest.raises(ExportError, match=r"only latent-variable models .*'flow-matching'"):
        save_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="draws noise for each pixel"):
        model.tile_decoder(torch.rand(1, 1, 8, 8), 1, tile=8, generator=None)


def test_it_is_saved_and_loaded(tmp_path):
    options = {"in_channels": 3, "noise": 2.0, "class_prior": [0.9, 0.1], "condition": 3}
    model = probseg.build("flow-matching", backbone=UNET, velocity=UNET, **options).eval()
    _perturbed(model).save(tmp_path / "model.safetensors")
    again, image = probseg.load(tmp_path / "model.safetensors"), torch.rand(2, 3, 10, 12)
    assert again.spec == model.spec
    samples = [m.sample(image, 3, generator=_generator()) for m in (model, again)]
    assert torch.equal(*samples)


def test_steps_and_method_that_are_set_later_are_saved(tmp_path):
    model, image = _perturbed(_small()).eval(), torch.rand(1, 1, 8, 8)
    model.steps, model.method = 5, "midpoint"
    assert (model.spec["steps"], model.spec["method"]) == (5, "midpoint")
    model.save(tmp_path / "model.safetensors")
    again = probseg.load(tmp_path / "model.safetensors")
    assert (again.steps, again.method) == (5, "midpoint")
    samples = [m.sample(image, 2, generator=_generator()) for m in (model, again)]
    assert torch.equal(*samples)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("steps", 2.5), ("method", "rk4")])
def test_steps_and_method_are_checked_when_they_are_set(name, value):
    model = _small()
    with pytest.raises(OptionError, match=f"{name} must be"):
        setattr(model, name, value)
    assert (model.steps, model.method) == (3, "euler")


def test_noise_is_that_of_the_training():
    with pytest.raises(AttributeError, match="noise"):
        _small().noise = 1.0


def test_training_is_resumed_to_the_bit(tmp_path):
    from probseg.training import TrainingSettings, fit

    data = probseg.datasets.create("ambiguous-shapes", size=8, samples=8)

    def trained(steps, out):
        settings = TrainingSettings(batch_size=4, max_steps=steps, validate_every=2, augment=False)
        model = _small()
        fit(model, data, data, settings, out=out, progress=False)
        return model.state_dict()

    torch.manual_seed(0)
    whole = trained(4, tmp_path / "whole")
    torch.manual_seed(0)
    trained(2, tmp_path / "parts")
    parts = trained(4, tmp_path / "parts")  # whose own weights do not matter
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0.0}, "noise must be a positive finite number"),
        ({"steps": 0}, "steps must be"),
        ({"condition": 0}, "condition must be"),
        ({"classes": 1}, "classes must be"),
        ({"method": "eular"}, "did you mean 'euler'"),
        ({"method": "dopri5"}, "method must be one of 'euler', 'midpoint'"),
        ({"velocity": "unett"}, "did you mean 'unet'"),
        ({"step": 3}, "did you mean 'steps'"),
        ({"class_prior": [1.0]}, "2 positive numbers"),
    ],
)
def test_options_that_make_no_sense_are_named(options, message):
    with pytest.raises((OptionError, probseg.errors.UnknownNameError), match=message):
        probseg.build("flow-matching", **{"backbone": UNET, **options})


@pytest.mark.parametrize(
    ("options", "message"), [({"steps": 0}, "steps must be"), ({"method": "rk4"}, "method must be")]
)
def test_a_call_of_sample_is_checked_as_well(options, message):
    with pytest.raises(OptionError, match=message):
        _small().sample(torch.rand(1, 1, 8, 8), 1, **options)


@pytest.mark.slow
def test_samples_recover_the_known_mode_frequencies():
    """It learns one annotation at a time, and samples in the annotators' proportions."""
    shapes = probseg.datasets.create("ambiguous-shapes", size=16, samples=1600)
    model = _trained(FlowMatching(**_TRAINED), shapes.batch(range(100, 1600)), steps=700)
    image, modes = shapes.batch(range(60)).image, _modes(shapes, 60)

    def iou(steps):  # (n, I, M) with each mode
        samples = model.sample(image, 50, generator=_generator(), steps=steps).argmax(2)
        samples, each = samples.bool()[:, :, None], modes[None]
        return (samples & each).sum((3, 4)) / (samples | each).sum((3, 4)).clamp(min=1)

    likeness = iou(10)
    found = torch.bincount(likeness.argmax(2).flatten(), minlength=3) / (50 * 60)
    torch.testing.assert_close(found.double(), shapes.frequencies, rtol=0, atol=0.05)
    assert likeness.amax(2).mean() > 0.85  # they are modes, and
    assert likeness.amax(2).mean() > iou(1).amax(2).mean() + 0.2  # one step gives none


_TRAINED = {
    "backbone": {**UNET, "channels": [8, 16, 32]},
    "velocity": {**UNET, "channels": [16, 32]},
    "class_prior": [0.85, 0.15],
}


def _modes(shapes, count):
    return torch.stack([shapes.modes(index) for index in range(count)]).bool()


def _trained(model, batch, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        images, annotator = torch.randint(len(batch.image), (32,)), torch.randint(4, (32,))
        terms = model.loss(batch.image[images], batch.masks[images, annotator])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()
