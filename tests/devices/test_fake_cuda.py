"""The real code on a GPU that is not there: everything on one device, and no wait in a step."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch
from device_parts import (
    DIVERGENCES,
    LATENT,
    MODELS,
    PROJECTORS,
    called,
    data,
    tiny,
    with_divergence,
)
from fake_cuda import FakeCuda, autocast, fakes
from small_models import NET, asked, generator
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.distributions import Independent, Normal
from training_toys import Discs

from probseg.datasets.annotators import annotation, complete
from probseg.interfaces import Batch, Evaluation
from probseg.options import named_parameters
from probseg.registry import registry
from probseg.training.augmentation import apply, draw
from probseg.training.data import TrainingData
from probseg.training.distributed import Share
from probseg.training.finite import FiniteWatch
from probseg.training.module import TrainingModule
from probseg.training.settings import TrainingSettings
from probseg.utils.tensors import ignoring

# POT's network simplex runs on the CPU, so each step waits for the points of its clouds.
ON_THE_HOST = {"exact-ot"}
ON_THE_GPU = [d for d in DIVERGENCES if d["name"] not in ON_THE_HOST]


def losses(model, *, size=9, classes=2, amps=(None, torch.bfloat16)):
    """Return the terms of a model's loss on the fake GPU, and what the host waited for."""
    gpu = FakeCuda()
    gpu.module(model)
    image, label = map(gpu.tensor, data(size, classes=classes))
    terms = []
    for amp in amps:
        with gpu, autocast(amp):
            terms.append(model.loss(image, asked(model, label)))
    return terms, gpu.waits


def check_loss(model, **options):
    for terms in (found := losses(model, **options))[0]:
        assert fakes(terms)
        assert all(term.dtype == torch.float32 and term.shape == () for term in terms.values())
        assert all(term.requires_grad for term in terms.values())
    assert found[1] == []


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 4])
def test_every_model(name, classes):
    check_loss(tiny(name, classes=classes), classes=classes)


@pytest.mark.parametrize("set_loss", ["energy", "sinkhorn"])
def test_set_losses_and_experts_never_wait(set_loss):
    check_loss(tiny("energy", set_loss=set_loss, encoder={"name": "mixture", **NET}))


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ON_THE_GPU, ids=called)
@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize("name", LATENT)
def test_every_model_with_every_projector_and_divergence(name, projector, divergence):
    model = tiny(name, projector=projector, divergence=divergence, gamma=1.0)
    check_loss(model, amps=[torch.bfloat16])


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ON_THE_GPU, ids=called)
def test_every_divergence_as_the_kl(divergence):
    check_loss(tiny("punet", kl=divergence, kl_on="projected", projector="planar"))


@pytest.mark.parametrize("context", ["image", "own", "posterior"])
def test_every_context(context):
    check_loss(tiny("csae", flow_context=context, shared_flow=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", registry("backbones"))
def test_every_backbone(name):
    known = named_parameters(registry("backbones")[name])
    small = {"encoder": "resnet18"} if "encoder" in known and name != "dpt" else {}
    small |= {option: value for option, value in NET.items() if option in known}
    check_loss(tiny("deterministic", backbone={"name": name, **small}), size=32)


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_every_norm(norm):
    check_loss(tiny("deterministic", backbone={"name": "unet", **NET, "norm": norm}))


@pytest.mark.parametrize("name", registry("encoders"))
def test_every_encoder(name):
    check_loss(tiny("csae", encoder=name))


@pytest.mark.parametrize("name", registry("decoders"))
def test_every_decoder(name):
    check_loss(tiny("csae", decoder=name))


@pytest.mark.parametrize("name", sorted(ON_THE_HOST))
def test_what_is_solved_on_the_cpu_waits_for_its_points_alone(name):
    gpu = FakeCuda()
    model = gpu.module(with_divergence({"name": name}))
    image, label = map(gpu.tensor, data())
    with gpu, pytest.raises(RuntimeError, match=re.escape(".numpy() is not supported")):
        model.loss(image, label)
    assert {wait.partition(": ")[::2] for wait in gpu.waits} == {
        ("copied to the CPU", "divergences/transport.py:__call__")
    }


# A training step


class FakeStep(TrainingModule):
    """A training module without a trainer, whose gradients come without a backward pass."""

    def __init__(self, model, settings, gpu):
        super().__init__(model, settings, **ignoring(255 if model.all_annotators else None))
        gpu.module(model)
        self.adam = torch.optim.Adam(
            model.parameters(), lr=1e-3, weight_decay=settings.weight_decay, fused=True
        )
        self.logged = {}

    global_step = 3
    share = Share()
    trainer = SimpleNamespace(strategy=SimpleNamespace(model=None))

    def manual_backward(self, loss):
        assert fakes(loss)
        for parameter in self.model.parameters():
            parameter.grad = torch.ones_like(parameter)

    def optimizers(self):
        return SimpleNamespace(
            optimizer=self.adam, zero_grad=self.adam.zero_grad, step=self.adam.step
        )

    def lr_schedulers(self):
        return None

    def _log(self, stage, values, batch_size):
        self.logged |= values


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("somebody_absent", [False, True])
@pytest.mark.parametrize("micro_batch", ["auto", 2])
def test_a_training_step_never_waits(name, somebody_absent, micro_batch, monkeypatch):
    """From the batch that Lightning hands over to the optimizer's step and the watch."""
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    gpu = FakeCuda(truth=not somebody_absent)  # present.all()
    model = tiny(name)
    terms = model.loss(data()[0], asked(model, data()[1]))
    step = FakeStep(model, TrainingSettings(batch_size=4, micro_batch=micro_batch), gpu)
    batch = Batch(
        gpu.tensor(torch.rand(4, 1, 9, 9)),
        gpu.tensor(torch.zeros(4, 3, 9, 9, dtype=torch.uint8)),
        gpu.on_cpu(torch.ones(4, 3, dtype=torch.bool)) if somebody_absent else None,
    )
    with gpu, autocast(torch.bfloat16):
        step.training_step(batch, 0)
    assert gpu.waits == []
    assert fakes(step.logged)
    assert {"loss", *terms, "gradient_norm"} <= set(step.logged)


def test_a_batch_is_handed_over_without_a_wait():
    """All but who annotated it, which is read where an annotator is drawn: on the CPU."""
    gpu = FakeCuda()
    loader = TrainingData(Discs(2), Discs(2), TrainingSettings())
    with gpu:
        batch = Batch(torch.rand(2, 1, 4, 4), torch.ones(2, 3, 4, 4), torch.ones(2, 3).bool())
        moved = loader.transfer_batch_to_device(batch, torch.device("cuda:0"), 0)
    assert fakes(moved[:2])
    assert moved.present.device.type == "cpu"
    assert gpu.waits == []


def test_augmentation_never_waits():
    gpu = FakeCuda()
    image = gpu.tensor(torch.rand(3, 2, 16, 20))
    masks = gpu.tensor(torch.zeros(3, 4, 16, 20, dtype=torch.uint8))
    with gpu:
        moved = apply(image, masks, draw(3, generator()))
    assert fakes(moved)
    assert [x.shape for x in moved] == [image.shape, masks.shape]
    assert [x.dtype for x in moved] == [image.dtype, masks.dtype]
    assert gpu.waits == []


def test_losses_are_looked_at_once_in_fifty_steps():
    gpu = FakeCuda()
    watch = FiniteWatch(1e-4)
    value = gpu.tensor(torch.ones(()))
    with gpu:
        for step in range(49):
            watch.note(step, {"loss": value})
        assert gpu.waits == []
        watch.note(49, {"loss": value})
    assert set(gpu.waits) == {"a value is read: training/finite.py:_fetched"}


# Where the host waits, entry by entry

READ_IMAGE = "a value is read: utils/model_inputs.py:_check_values"
READ_LATENT = "a value is read: utils/model_inputs.py:checked_latent"
READ_LABEL = "a value is read: utils/model_inputs.py:checked_label"
ENTRIES = {
    "loss": [],
    "sample": [READ_IMAGE],
    "decode": [READ_IMAGE, READ_LATENT],
    "reconstruct": [READ_IMAGE, READ_LABEL, READ_LABEL],
    "prior": [READ_IMAGE],
    "posterior": [READ_IMAGE, READ_LABEL, READ_LABEL],
    "densities": [READ_IMAGE, READ_LABEL, READ_LABEL],
    "sampled_density": [],
}


def call(model, entry, image, label, source):
    given = {
        "sample": (image, 3),
        "decode": (image, torch.zeros(2, 2, model.latent_dim, device=image.device)),
        "prior": (image,),
        "sampled_density": (image,),
        "loss": (image, asked(model, label)),
    }
    options = {"projected": False} if entry == "sampled_density" else {}
    options |= {"generator": source} if entry in ("loss", "sample", "reconstruct") else {}
    return getattr(model, entry)(*given.get(entry, (image, label)), **options)


@pytest.mark.parametrize("name", LATENT)
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("source", [None, generator()], ids=["global", "from the CPU"])
def test_where_a_latent_model_waits(name, entry, source):
    gpu = FakeCuda()
    model = gpu.module(tiny(name))
    image, label = map(gpu.tensor, data(16))
    with gpu, autocast(torch.bfloat16):
        found = call(model, entry, image, label, source)
        if entry in ("prior", "posterior", "sampled_density"):
            found = [found.rsample((3,)), found.mean, found.log_prob(found.rsample())]
        if entry == "densities":
            found = [density.rsample() for pair in found for density in pair]
    assert fakes(found)
    assert gpu.waits == ENTRIES[entry]


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(LATENT)))
def test_where_another_model_waits(name):
    gpu = FakeCuda()
    model = gpu.module(tiny(name))
    with gpu:
        assert fakes(model.sample(gpu.tensor(data()[0]), 3))
    assert gpu.waits == [READ_IMAGE]


def _batch(gpu, present=None):
    return Batch(
        gpu.tensor(torch.rand(4, 1, 8, 8)),
        gpu.tensor(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)),
        None if present is None else gpu.tensor(present),
    )


PRESENT = torch.ones(4, 3, dtype=torch.bool)
CHOOSE = "datasets/annotators.py:choose_annotator"
OTHER_ENTRIES = {
    "an annotator drawn on the CPU": (
        lambda gpu: annotation(_batch(gpu), generator=generator()),
        [],
    ),
    "an annotator drawn on the GPU": (lambda gpu: annotation(_batch(gpu)), []),
    "an annotator drawn of those present": (
        lambda gpu: annotation(_batch(gpu, PRESENT)),
        [f"a value is read: {CHOOSE}"],
    ),
    "an annotator drawn on the CPU of those present": (
        lambda gpu: annotation(_batch(gpu, PRESENT), generator=generator()),
        [f"a value is read: {CHOOSE}", f"copied to the CPU: {CHOOSE}"],
    ),
    "a majority": (
        lambda gpu: annotation(_batch(gpu), "majority"),
        ["a value is read: datasets/annotators.py:majority_vote"],
    ),
    "an annotator by number": (
        lambda gpu: annotation(_batch(gpu), 1),
        ["a value is read: datasets/annotators.py:_of_one"],
    ),
    "complete batches": (
        lambda gpu: next(complete(_batch(gpu, PRESENT)))[:2],
        ["a size is read: datasets/annotators.py:complete"],
    ),
    "the labels of samples": (
        lambda gpu: Evaluation(gpu.tensor(torch.rand(2, 3, 2, 8, 8)), _batch(gpu).masks).labels,
        [],
    ),
}
SOMEBODY_ABSENT = {
    "an annotator by number",
    "an annotator drawn of those present",
    "an annotator drawn on the CPU of those present",
}


@pytest.mark.parametrize("entry", OTHER_ENTRIES)
def test_where_else_the_host_waits(entry):
    run, expected = OTHER_ENTRIES[entry]
    gpu = FakeCuda(truth=entry not in SOMEBODY_ABSENT)
    with gpu:
        try:
            assert fakes(run(gpu))
        except DynamicOutputShapeException:
            assert any("a size is read" in wait for wait in expected)
    assert gpu.waits == expected


# The harness itself: each fault, planted into parts, is seen


class Faulty(nn.Module):
    """A projector, or a divergence, with a fault."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, base, other):
        self.fault(base.rsample())
        if isinstance(other, torch.Tensor):
            return base
        return base.rsample().sum(-1)


def sees(sign):
    """What is written down."""
    return sign, None


def raises(error, words):
    """What torch raises."""
    return words, error


MEET = raises(RuntimeError, "two (different )?devices,? cuda:0")  # torch's words differ by version
SIZE = raises(DynamicOutputShapeException, "nonzero")
PLANTED = {
    "a copy to the CPU and back": (lambda x: x.cpu().to(x.device), sees("copied to the CPU")),
    "a copy to the CPU that meets the GPU's": (lambda x: x + x.cpu(), MEET),
    "a constant of the CPU": (lambda x: x[:, :2] + torch.tensor([1.0, 2.0]), MEET),
    "a number of the CPU": (lambda x: x * torch.tensor(3.0), sees("a CPU tensor meets")),
    "a constant moved": (lambda x: torch.tensor(3.0).to(x.device), sees("copied to the GPU")),
    "a list as a tensor": (lambda x: x.new_tensor([1.0]), sees("copied to the GPU")),
    "an index of the CPU": (lambda x: x[torch.tensor([0, 1])], sees("a CPU tensor meets")),
    "an item": (lambda x: x.sum().item(), sees("a value is read")),
    "a condition": (lambda x: x if x.sum() > 0 else -x, sees("a value is read")),
    "a list": (lambda x: x.sum(1).tolist(), sees("a value is read")),
    "a mask": (lambda x: x[x > 0], SIZE),
    "a mask written to": (
        lambda x: x.clone().index_put_((x > 0,), x[0, :2]),
        sees("a value is read"),
    ),
    "nonzero": (lambda x: (x > 0).nonzero(), SIZE),
    "numpy": (lambda x: x.detach().cpu().numpy(), raises(RuntimeError, r"\.numpy\(\) is not")),
    "double precision": (lambda x: x.double().sum(), sees("float64 is made")),
    "a double constant": (
        lambda x: torch.ones(6, dtype=torch.float64, device=x.device),
        sees("float64 is made"),
    ),
    "an inverse": (lambda x: torch.linalg.inv(torch.diag_embed(x)), sees("a value is read")),
}
HARMLESS = {
    "numbers": lambda x: (x * 3.0 + 1).clamp(0, 1),
    "filled": lambda x: torch.where(x > 0, x, 0.0) + x.new_full((1,), 2.0) + torch.ones_like(x),
    "masked": lambda x: x.clone().masked_fill_(x > 0, 1.0),
    "assigned": lambda x: x.clone().index_put_((x > 0,), torch.tensor(1.0)),
    "noise": lambda x: torch.randn_like(x) + torch.rand(6, device=x.device),
    "brought along in passing": lambda x: torch.ones(6).to(x.device, non_blocking=True) * x,
}


def plant(kind, fault):
    """Build a model with a part that has a fault, registered by a name."""
    parts = registry(kind + "s")
    parts.register("faulty")(lambda **known: Faulty(fault))
    try:
        if kind == "projector":
            return tiny("csae", projector="faulty")
        return with_divergence({"name": "faulty"})
    finally:
        parts.unregister("faulty")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["projector", "divergence"])
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_seen(kind, planted):
    fault, (sign, error) = PLANTED[planted]
    model = plant(kind, fault)
    if error is None:
        waits = losses(model)[1]
        assert waits and waits[0].startswith(sign)
    else:
        with pytest.raises(error, match=sign):
            losses(model)


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_is_harmless_is_not_seen(harmless):
    assert losses(plant("projector", HARMLESS[harmless]))[1] == []


def test_a_part_that_stays_behind_is_seen():
    """A tensor that is neither a parameter nor a buffer, made with the model."""

    class Behind(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.ones(6)

        def forward(self, base, context):
            return Independent(Normal(base.mean * self.scale, base.stddev), 1)

    parts = registry("projectors")
    parts.register("behind")(lambda **known: Behind())
    try:
        with pytest.raises(AssertionError, match="Please convert all Tensors to FakeTensors"):
            losses(tiny("csae", projector="behind"))
    finally:
        parts.unregister("behind")
