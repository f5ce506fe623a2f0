"""The gradients of a step, clipping in the optimizer, and memory that is kept."""

from __future__ import annotations

import math
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim import Adam
from training_toys import make_model, quick

from probseg import build
from probseg.errors import OptionError
from probseg.models.annotations import Annotations
from probseg.training import fit
from probseg.training.gradients import PIXELS_AT_ONCE, accumulate, clip, images_at_once
from probseg.utils.tensors import IGNORED

SMALL = {"name": "unet", "channels": [4, 8], "convolutions": 1}
ENCODER = {"name": "axis-aligned", "channels": [4, 8], "convolutions": 1}


def gradients(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
@pytest.mark.parametrize("everybody", [False, True])
def test_chunks_have_the_gradient_of_the_whole_batch(chunk, reduction, everybody):
    torch.manual_seed(0)
    parts = {"backbone": SMALL, "encoder": ENCODER}
    model = build("punet", **parts, reduction=reduction, all_annotators=everybody).double()
    image, label = torch.rand(5, 1, 8, 8).double(), torch.randint(2, (5, 8, 8))
    if everybody:  # images differ in how many annotators they have
        label = torch.randint(2, (5, 3, 8, 8))
        label[0, 0] = label[3, 1:] = IGNORED

    def loss(images, labels):  # without noise, which chunks draw in another order
        given = Annotations.of_all(labels) if everybody else Annotations(labels)
        encoded = model._encoded(*model._padded(images, given.label))
        latent = encoded.q.mean.unflatten(0, given.shape)
        logits = model.decoder(model.backbone(images), latent)
        penalties = model._penalties(model._spaces(encoded, given), given)
        return {"cross_entropy": model._cross_entropy(logits, given)} | penalties

    whole = sum(loss(image, label).values())
    whole.backward()
    expected = gradients(model)
    model.zero_grad()
    done = accumulate(loss, image, label, chunk=chunk, backward=torch.Tensor.backward)
    torch.testing.assert_close(done.loss.double(), whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients(model), expected, rtol=1e-6, atol=1e-9)
    assert list(done.terms) == ["cross_entropy", "kl"]


def test_a_batch_is_cut_where_that_saves_memory_and_changes_nothing():
    plain, with_statistics = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
    image = torch.zeros(32, 1, 128, 128)
    assert images_at_once("auto", plain, image) == PIXELS_AT_ONCE // 128**2 == 8
    assert images_at_once("auto", plain, image[..., :64, :64]) == 32
    assert images_at_once("auto", plain, torch.zeros(2, 1, 1024, 1024)) == 1
    assert images_at_once("auto", with_statistics, image) == 32
    assert images_at_once(5, with_statistics, image) == 5
    assert images_at_once(64, plain, image) == 32


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e6])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_fused_optimizer_clips_as_torch_does(limit, weight_decay):
    stepped = []
    for fused in (False, True):
        model = make_model()
        optimizer = Adam(model.parameters(), lr=0.1, weight_decay=weight_decay, fused=fused)
        for step in range(3):
            torch.manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            direction = gradients(model)
            norms = clip(optimizer, limit)
            assert norms.total.item() == pytest.approx(direction.norm().item(), rel=1e-5)
            assert norms.each.norm().item() == pytest.approx(direction.norm().item(), rel=1e-5)
            optimizer.step()
        stepped.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*stepped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_fused_optimizer_leaves_out_a_step_that_is_not_finite(value):
    model = make_model()
    optimizer = Adam(model.parameters(), lr=0.1, fused=True)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.head.bias.grad[0] = value
    assert not math.isfinite(clip(optimizer, 1.0).total.item())
    optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


# Prints how many blocks glibc has mapped by themselves while a large one is held: before, inside
# and after. A process of its own, as one that once ran out of memory takes none from its heap.
MAPPED = """
import ctypes
from probseg.training.execution import kept_memory

names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Information(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Information
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def mapped():
    block = libc.malloc(1 << 30)
    count = libc.mallinfo2().hblks
    libc.free(block)
    return count

print(mapped())
with kept_memory():
    print(mapped())
print(mapped())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_is_kept_inside_only():
    printed = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, check=True)
    before, inside, after = map(int, printed.stdout.split())
    assert (before - inside, after - before) == (1, 0)


@pytest.mark.parametrize("value", [0, -1, 1.5, "all", True])
def test_a_wrong_micro_batch_is_refused(value):
    with pytest.raises(OptionError, match="micro_batch must be an integer of at least 1"):
        quick(micro_batch=value)


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in ("punet", "2p-planar")), "csae"],
)
def test_bf16_has_the_loss_and_gradient_of_fp32_to_three_percent(name):
    """On the paper's networks, over some noise; densities and divergences stay in fp32."""
    steps = [[noisy_step(name, seed, bf16=bf16) for seed in range(4)] for bf16 in (False, True)]
    (losses, gradient), (rounded, turned) = (
        (torch.tensor([loss for loss, _ in some]), sum(direction for _, direction in some))
        for some in steps
    )
    torch.testing.assert_close(rounded, losses, rtol=0.03, atol=0)
    error = (turned - gradient).norm() / gradient.norm()
    assert 0 < error < 0.03, error


def noisy_step(name, seed, *, bf16):
    torch.manual_seed(0)
    model = build(name)
    image, label = torch.rand(4, 1, 32, 32), torch.randint(2, (4, 32, 32))
    noise = torch.Generator().manual_seed(seed)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        terms = model.loss(image, label, generator=noise)
    assert all(term.dtype == torch.float32 for term in terms.values())
    loss = sum(terms.values())
    loss.backward()
    return loss.item(), gradients(model)


@pytest.mark.slow
def test_a_compiled_model_takes_the_same_step(train, validation):
    plain, compiled = make_model(dropout=0.0), make_model(dropout=0.0)
    fit(plain, train, validation, quick(max_steps=1, validate_every=1))
    with torch.compiler.set_stance("force_eager"):  # the compiler itself is torch's to test
        fit(compiled, train, validation, quick(max_steps=1, validate_every=1, compile=True))
    assert all(child._compiled_call_impl is not None for child in compiled.children())
    for left, right in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)
