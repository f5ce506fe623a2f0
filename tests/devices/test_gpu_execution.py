"""How a GPU computes: half precision, compiled, channels last, without a wait, in little memory."""

from __future__ import annotations

import copy
import shutil
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from device_parts import (
    DEVICE,
    DIVERGENCES,
    LATENT,
    MODELS,
    called,
    close,
    data,
    gradients,
    learn,
    on,
    only_cuda,
    tiny,
    with_divergence,
)
from lightning.pytorch import Callback
from small_models import UNET, asked, generator, total
from torch.optim import Adam
from training_toys import Discs, quick

import probseg
from probseg.set_losses.energy import Energy
from probseg.training import fit
from probseg.training.augmentation import apply, draw
from probseg.training.gradients import accumulate, clip

pytestmark = pytest.mark.gpu

PACKAGE = Path(probseg.__file__).parent
SOLVED_ON_THE_HOST = {"exact-ot"}  # POT's network simplex runs on the CPU


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16])
def test_half_precision(name, amp):
    """With a gradient scaler, as fp16 needs; it may leave out steps, but not most of them."""
    if DEVICE == "cpu" and amp == torch.float16:
        pytest.skip("a rehearsal has no scaler")
    model, (image, label) = tiny(name).to(DEVICE), on(DEVICE, *data())
    optimizer = Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=2.0**10, enabled=amp == torch.float16)
    taken = 0
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast(DEVICE, amp):
            terms = model.loss(image, asked(model, label))
        assert all(term.isfinite() and term.dtype == torch.float32 for term in terms.values())
        before = scaler.get_scale()
        scaler.scale(sum(terms.values())).backward()
        scaler.step(optimizer)
        scaler.update()
        taken += scaler.get_scale() >= before
        assert all(weight.isfinite().all() for weight in model.parameters())
    assert taken > 10
    with torch.autocast(DEVICE, amp):
        samples = model.eval().sample(image, 3)
    assert samples.dtype == torch.float32
    torch.testing.assert_close(samples.sum(2), torch.ones_like(samples[:, :, 0]))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_single(name, amp):
    """Eight bits of mantissa through a few layers: the loss to some percent."""
    model, (image, label) = tiny(name).to(DEVICE), on(DEVICE, *data())
    wanted = learn(model, image, label)
    with torch.autocast(DEVICE, amp):
        found = learn(model, image, label)
    assert total(found).item() == pytest.approx(total(wanted).item(), rel=0.05)


@pytest.mark.parametrize("name", MODELS)
def test_channels_last_is_contiguous(name):
    made, (image, label) = tiny(name), on(DEVICE, *data())
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = copy.deepcopy(made).to(DEVICE).to(memory_format=layout)
        terms = learn(model, image.contiguous(memory_format=layout), label)
        found.append((terms, gradients(model)))
    (wanted, grown), (terms, grown_last) = found
    largest = max(gradient.abs().max().item() for gradient in grown.values())
    for key, term in wanted.items():
        close(terms[key], term, 1e-4)
    for key, gradient in grown.items():
        assert (grown_last[key] - gradient).abs().max().item() <= 1e-3 * largest, key


def test_a_compiled_network_is_the_eager_one():
    if not (shutil.which("cc") or shutil.which("gcc")) or not find_spec("torch._inductor"):
        pytest.skip("torch compiles with the machine's C compiler")
    eager = tiny("punet").to(DEVICE)
    compiled = copy.deepcopy(eager)
    image, label = on(DEVICE, *data())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its parts and of TF32
        compiled.backbone.compile()
        terms = learn(compiled, image, label)
    wanted = learn(eager, image, label)
    for key, term in wanted.items():
        close(terms[key], term, 1e-4)
    grown = gradients(compiled)
    for key, gradient in gradients(eager).items():
        close(grown[key], gradient, 1e-3)


class Waits:
    """Collects where the host waits for the GPU: the innermost frames of probseg, by name."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self._before = warnings.showwarning

    def __enter__(self):
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("always")
        warnings.showwarning = self._note
        torch.cuda.set_sync_debug_mode("warn")
        return self

    def __exit__(self, *error):
        torch.cuda.set_sync_debug_mode("default")
        self._caught.__exit__(*error)

    def _note(self, message, *_args, **_kwargs):
        if "called a synchronizing" in str(message):
            frames = [(Path(f.filename), f.name) for f in traceback.extract_stack()]
            ours = [
                f"{file.relative_to(PACKAGE)}:{name}"
                for file, name in frames
                if file.is_relative_to(PACKAGE) and not name.startswith("<")
            ]
            self.places.append(ours[-1] if ours else "outside probseg")


def training_step(model, optimizer, image, masks, source):
    """Take the step that ``fit`` takes: augmentation, autocast, gradients, clipping, Adam."""
    image, masks = apply(image, masks, draw(len(image), source))
    optimizer.zero_grad()
    with torch.autocast(DEVICE, torch.bfloat16):
        accumulate(
            model.loss,
            image,
            asked(model, masks[:, 0].long()),
            chunk=1,
            backward=lambda loss: loss.backward(),
        )
    clip(optimizer, 1.0)
    optimizer.step()


STEPS = [
    *(pytest.param(lambda name=name: tiny(name), id=name) for name in MODELS),
    *(
        pytest.param(lambda d=divergence: with_divergence(d), id=called(divergence))
        for divergence in DIVERGENCES
        if divergence["name"] not in SOLVED_ON_THE_HOST
    ),
    *(
        pytest.param(lambda p=projector: tiny("csae", projector=p), id=projector)
        for projector in ("affine-autoregressive", "rational-quadratic", "identity")
    ),
]


@only_cuda
@pytest.mark.parametrize("make", STEPS)
def test_a_training_step_never_waits_for_the_gpu(make):
    model = make().to(DEVICE)
    optimizer = Adam(model.parameters(), lr=1e-3, weight_decay=5e-5, fused=True)
    image, label = on(DEVICE, *data())
    step = (model, optimizer, image, label[:, None].byte(), generator())
    training_step(*step)  # what is set up once may wait
    with Waits() as waits:
        training_step(*step)
    assert waits.places == []


class WaitingSteps(Callback):
    """Notes where the steps of a run wait for the GPU, from the second on."""

    def __init__(self) -> None:
        self.waits = Waits()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx:
            self.waits.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx:
            self.waits.__exit__(None, None, None)


@only_cuda
@pytest.mark.parametrize("somebody_absent", [False, True])
def test_the_steps_of_a_run_never_wait_for_the_gpu(somebody_absent):
    """Lightning's bookkeeping of what is logged is not ours to change."""
    watch, train = WaitingSteps(), Discs(20)
    if somebody_absent:
        train.present = torch.ones(20, 4, dtype=torch.bool)
        train.present[::2, 3] = False
    settings = quick(device=DEVICE, precision="bf16", max_steps=9, validate_every=9)
    fit(tiny("csae"), train, Discs(4, seed=1), settings, progress=False, callbacks=[watch])
    ours = [
        p for p in watch.waits.places if p not in ("training/module.py:_log", "outside probseg")
    ]
    assert ours == []


@only_cuda
def test_a_wait_is_seen():
    value = torch.ones(3, device=DEVICE)
    with Waits() as waits:
        value.sum().item()
        torch.tensor([1.0, 2.0], device=DEVICE)
        value.cpu()
    assert len(waits.places) >= 3
    with Waits() as waits:
        value.sum()
        torch.ones(3).to(DEVICE, non_blocking=True)
    assert waits.places == []


@only_cuda
@pytest.mark.parametrize("name", MODELS)
def test_a_step_takes_no_more_than_its_activations(name):
    """Twice what autograd keeps, the weights four times (Adam) and cuDNN's room to work in."""
    wide = {"channels": [32, 64, 128, 192], "convolutions": 3}
    parts = {"encoder": {"name": "axis-aligned", **wide}} if name in LATENT else {}
    model = tiny(name, backbone={**UNET, **wide}, **parts).to(DEVICE)
    optimizer = Adam(model.parameters(), lr=1e-4, fused=True)
    image = torch.rand(8, 1, 128, 128, device=DEVICE)
    label = asked(model, (image[:, 0] > 0.5).long())
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = model.loss(image, label)
    total(terms).backward()
    del terms
    optimizer.zero_grad()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    done = accumulate(model.loss, image, label, chunk=8, backward=lambda loss: loss.backward())
    clip(optimizer, 1.0)
    optimizer.step()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    taken = torch.cuda.max_memory_allocated() - before
    assert done.loss.isfinite()
    assert sum(kept.values()) > 2**27  # 128 MiB: there is something to bound
    assert taken < 2 * sum(kept.values()) + 4 * weights + 2**28


@only_cuda
def test_the_distances_of_all_pairs_are_not_held_as_differences():
    """Which would be 1 GiB; the samples of one class are 32 MiB."""
    samples = torch.rand(32, 4, 2, 256, 256, device=DEVICE, requires_grad=True)
    masks = torch.randint(2, (4, 3, 256, 256), device=DEVICE)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    Energy()(samples, masks).sum().backward()
    assert samples.grad.isfinite().all()
    assert torch.cuda.max_memory_allocated() - before < 512 << 20
