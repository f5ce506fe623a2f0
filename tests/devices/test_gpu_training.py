"""Training on a GPU: the CPU's run, interrupted runs, augmentation, and memory that runs out."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from device_parts import DEVICE, MODELS, SameNoise, close, only_cuda, tiny
from lightning.pytorch import Callback
from small_models import UNET, asked, generator
from training_toys import Discs, make_model, quick

from probseg.datasets.annotators import annotation
from probseg.interfaces import Batch
from probseg.metrics.collapse import latent_statistics
from probseg.training import LatentHealth, NonFiniteError, fit
from probseg.training.augmentation import apply, draw
from probseg.training.gradients import accumulate, clip

pytestmark = pytest.mark.gpu


def run(device, model=None, **changes):
    model = make_model(dropout=0.0) if model is None else model
    out = changes.pop("out", None)
    callbacks = changes.pop("callbacks", ())
    settings = quick(device=device, **changes)
    result = fit(
        model, Discs(22), Discs(6, seed=1), settings, out=out, progress=False, callbacks=callbacks
    )
    return result, model


def losses(result, key="train/loss"):
    return [record[key] for record in result.history]


def test_a_gpu_trains_like_the_cpu():
    """Its noise is another, so in a toy whose latents hardly count the losses are near."""
    made = make_model(dropout=0.0)
    here, there = (run(device, copy.deepcopy(made), augment=False)[0] for device in ("cpu", DEVICE))
    assert losses(there)[0] == pytest.approx(losses(here)[0], rel=0.05)
    assert losses(there)[-1] < losses(there)[0]


def test_a_gpu_trains_on_the_cpu_s_augmented_images():
    """What is drawn comes from the CPU; without latents the losses differ by rounding alone."""
    made = tiny("deterministic")
    here, there = (
        run(device, copy.deepcopy(made), augment=True, precision="fp32")[0]
        for device in ("cpu", DEVICE)
    )
    assert losses(there) == pytest.approx(losses(here), rel=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_three_steps_are_the_cpu_s(name):
    """Loss, gradients, clipping and the fused optimizer, with the same noise."""
    made = tiny(name)
    image, masks = _batch(4)[:2]
    found = []
    for device in ("cpu", DEVICE):
        model = copy.deepcopy(made).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=5e-5, fused=True)
        with SameNoise():
            found.append([_step(model, optimizer, image, masks, device) for _ in range(3)])
    for here, there in zip(*found, strict=True):
        assert there == pytest.approx(here, rel=1e-3)


def _step(model, optimizer, image, masks, device):
    optimizer.zero_grad()
    done = accumulate(
        model.loss,
        image.to(device),
        asked(model, masks[:, 0].long()).to(device),
        chunk=2,
        backward=lambda loss: loss.backward(),
    )
    norms = clip(optimizer, 1.0)
    optimizer.step()
    return [done.loss.item(), norms.total.item()]


def _batch(count, size=16):
    discs = Discs(count, size=size)
    return Batch(discs.images, discs.masks, None)


@pytest.mark.parametrize("size", [16, 33])
def test_augmentation_is_the_cpu_s(size):
    batch = _batch(5, size)
    parameters = draw(5, generator())
    image, masks = apply(batch.image, batch.masks, parameters)
    there = apply(batch.image.to(DEVICE), batch.masks.to(DEVICE), parameters)
    close(there[0], image, 1e-4)
    assert there[1].dtype == masks.dtype
    # a pixel whose source lies between two may go to either
    assert (there[1].cpu() != masks).float().mean() < 2e-3
    turned = parameters._replace(rotation=torch.full((5,), 90.0))
    assert not torch.equal(apply(batch.image, batch.masks, turned)[0], image)


@pytest.mark.parametrize("everybody", [True, False])
def test_whose_annotation_is_the_cpu_s(everybody):
    batch = _batch(12)
    present = None if everybody else torch.rand(12, 4, generator=generator()) < 0.6
    if present is not None:
        present[:, 0] = True
    batch = batch._replace(present=present)
    there = Batch(*(None if part is None else part.to(DEVICE) for part in batch))
    chosen = annotation(there, generator=generator())
    assert chosen.device.type == torch.device(DEVICE).type
    assert torch.equal(chosen.cpu(), annotation(batch, generator=generator()))
    for who in ("majority", 0):
        assert torch.equal(annotation(there, who).cpu(), annotation(batch, who))


def test_annotators_who_are_absent_are_drawn_alike_on_both():
    """The batches of a whole run, as the loader and Lightning hand them over."""
    seen = {}
    for device in ("cpu", DEVICE):
        train, model = Discs(10), make_model(dropout=0.0)
        train.present = torch.rand(10, 4, generator=generator()) < 0.5
        train.present[:, 1] = True
        labels = seen.setdefault(device, [])
        inner = model.loss
        model.loss = lambda image, label, labels=labels, inner=inner, **_: (
            labels.append(label.cpu()) or inner(image, label)
        )
        settings = quick(device=device, augment=False, max_steps=6)
        fit(model, train, Discs(4, seed=1), settings, progress=False)
    assert all(map(torch.equal, seen["cpu"], seen[DEVICE]))


@pytest.mark.parametrize("name", [None, "csae"])
def test_an_interrupted_run_goes_on_as_the_uninterrupted_one(name, tmp_path):
    def model():
        torch.manual_seed(0)
        return make_model() if name is None else tiny(name)

    same = {"enabled": True, "deterministic": True, "allow_tf32": False}
    with torch.backends.cudnn.flags(**same):
        whole, kept = run(DEVICE, model(), max_steps=9)
        run(DEVICE, model(), max_steps=3, out=tmp_path)
        resumed, again = run(DEVICE, model(), max_steps=9, out=tmp_path)
    for record, other in zip(whole.history, resumed.history, strict=True):
        for key in record.keys() - {"seconds"}:
            assert other[key] == pytest.approx(record[key], rel=1e-3, abs=1e-5), key
    for found, wanted in zip(again.parameters(), kept.parameters(), strict=True):
        assert found.device.type == "cpu"
        close(found.detach(), wanted.detach(), 1e-3)


def test_a_run_of_a_gpu_goes_on_on_the_cpu_and_back(tmp_path):
    run(DEVICE, max_steps=3, out=tmp_path)
    run("cpu", max_steps=6, out=tmp_path)
    result, _ = run(DEVICE, max_steps=9, out=tmp_path)
    assert (result.steps, len(result.history)) == (9, 3)
    assert json.loads((tmp_path / "history.json").read_text())


def test_the_latents_health_is_measured_on_the_gpu():
    watch = LatentHealth(Discs(8, seed=2), samples=4)
    result, model = run(DEVICE, tiny("csae"), callbacks=[watch], max_steps=6)
    assert len(watch.history) == 2
    assert 0 <= result.history[-1]["prior/gini"] < 1
    batch = Batch(Discs(8, seed=2).images, Discs(8, seed=2).masks)
    there = Batch(batch.image.to(DEVICE), batch.masks.to(DEVICE))
    with SameNoise():
        wanted = latent_statistics(model.cpu(), batch, samples=4)
    with SameNoise():
        found = latent_statistics(model.to(DEVICE), there, samples=4)
    for key, value in wanted.scalars().items():
        assert found.scalars()[key] == pytest.approx(value, rel=1e-2, abs=1e-2), key


def test_half_precision_is_chosen_and_trains():
    """Settings' "auto", and bf16 with images channels last."""
    for changes in ({"precision": "auto", "channels_last": "auto"}, {"precision": "bf16"}):
        result, _ = run(DEVICE, **changes)
        assert losses(result)[-1] < losses(result)[0]


class Poison(Callback):
    """Makes a weight NaN on the device before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        assert pl_module.device.type == torch.device(DEVICE).type
        if trainer.global_step == self.step:
            with torch.no_grad():
                next(pl_module.model.parameters()).view(-1)[0] = float("nan")


@pytest.mark.parametrize("name", [None, "csae", "deterministic"])
def test_nan_on_the_device_alone_ends_the_run_by_name(name):
    model = None if name is None else tiny(name)
    with pytest.raises(NonFiniteError, match="training diverged at step 4: cross_entropy is nan"):
        run(DEVICE, model, callbacks=[Poison(4)])


@only_cuda
def test_a_batch_too_large_is_halved_and_training_finishes():
    """The allocator may take what half a batch needs and a little more, the cached included."""
    wide = {**UNET, "channels": [32, 64], "convolutions": 3}
    train = Discs(16, size=128), Discs(4, seed=1, size=128)
    settings = quick(device=DEVICE, batch_size=16, max_steps=2, validate_every=1, augment=False)

    def peak(micro_batch):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        model = tiny("deterministic", backbone=wide)
        halved = quick(**{**vars(settings), "micro_batch": micro_batch})
        assert fit(model, *train, halved, progress=False).micro_batch is None
        return torch.cuda.max_memory_allocated()

    whole, half = peak(16), peak(8)
    assert whole > 1.3 * half
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.15 * half / total)
    try:
        result = fit(tiny("deterministic", backbone=wide), *train, settings, progress=False)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert result.steps == 2
    assert result.micro_batch in (4, 8)
