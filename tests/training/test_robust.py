"""Hundreds of steps on hostile images, labels and shapes, and not one value that is not finite.

``PROBSEG_STEPS=500 pytest tests/training/test_robust.py`` takes as many steps of each case and
prints their number; by default a case takes a few. The cases of csae, whose loss has the most
terms, are quick tests; those of the other models and of more divergences are marked slow.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hierarchical_models import WITH_PYRAMID, small_hierarchical
from small_models import asked
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

import probseg
from probseg.training.gradients import accumulate, clip

STEPS = int(os.environ.get("PROBSEG_STEPS", "10"))
NET = {"channels": [4, 8], "convolutions": 1}
LATENT = ("punet", "2p-planar", "csae", "energy")
ALL = (*LATENT, "deterministic")


class Case(NamedTuple):
    """What one model is trained on."""

    image: Tensor
    label: Tensor
    options: dict[str, Any] = {}  # noqa: RUF012  # of the model; nobody writes to it
    logits: float = 1.0  # factor on the last layer
    amp: torch.dtype | None = None  # of autocast


def noise(images: int = 2) -> Tensor:
    return torch.rand(images, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def drawn(images: int = 2) -> Tensor:
    return (noise(images)[:, 0] > 0.6).long()


EMPTY = torch.zeros(2, 16, 16, dtype=torch.long)
PIXEL = functional.pad(torch.full((2, 1, 1, 1), 1e6), (8, 7, 8, 7))
CONTRASTS = {
    "zero": 0 * noise(),
    "constant": torch.full_like(noise(), 1e3),
    "denormals": 1e-40 * noise(),
    "one million": 1e6 * noise(),
    "minus one million": -1e6 * noise(),
    "one pixel of a million": PIXEL,
}
ANY = {name: Case(image, drawn()) for name, image in CONTRASTS.items()} | {
    "empty labels": Case(noise(), EMPTY),
    "one million, empty labels": Case(1e6 * noise(), EMPTY),
    "one image": Case(noise(1), drawn(1)),
    "extreme logits": Case(noise(), drawn(), logits=1e4),
    "bf16": Case(noise(), drawn(), amp=torch.bfloat16),
    "bf16, one million": Case(1e6 * noise(), drawn(), amp=torch.bfloat16),
}
WITH_LATENTS = {
    "one latent": Case(noise(), drawn(), {"latent_dim": 1}),
    "64 latents": Case(noise(), drawn(), {"latent_dim": 64}),
    "one image of a million, 64 latents": Case(1e6 * noise(1), drawn(1), {"latent_dim": 64}),
}
ALONE = {"name": "sinkhorn", "samples": 1}
SETS = {
    f"{loss}, one million": Case(1e6 * noise(), drawn(), {"set_loss": loss})
    for loss in probseg.set_losses
} | {"experts": Case(1e6 * noise(), drawn(), {"encoder": {"name": "mixture", **NET}})}
TRANSPORT = {
    "one sample": Case(noise(), drawn(), {"divergence": ALONE}),
    "one sample, one image, one latent": Case(
        noise(1), drawn(1), {"divergence": ALONE, "latent_dim": 1}
    ),
    "one sample, one million": Case(1e6 * noise(), drawn(), {"divergence": ALONE}),
    "distances, one million": Case(
        1e6 * noise(), drawn(), {"divergence": {"name": "sinkhorn", "p": 1}}
    ),
    "weighed, stacked, one million": Case(
        *(1e6 * noise(), drawn()),
        {"divergence": {"name": "sinkhorn", "weights": "density", "solver": "stacked"}},
    ),
    "exact, one million": Case(1e6 * noise(), drawn(), {"divergence": "exact-ot"}),
}
DIFFERENT = torch.stack([drawn(), 1 - drawn(), EMPTY], dim=1)  # and one is absent at times
DIFFERENT[1, 1] = 255
ALL_ANNOTATORS = {
    name: Case(case.image, DIFFERENT[: len(case.image)], case.options, case.logits, case.amp)
    for name, case in (ANY | WITH_LATENTS).items()
    if "empty" not in name
} | {
    "every option": Case(
        *(1e6 * noise(), DIFFERENT),
        {"variability": 10.0, "top_k": 0.1, "beta": 1.0, "kl": {"name": "kl", "free_bits": 0.5}},
    )
}
CASES = [
    *(("spu-net", name, case) for name, case in ALL_ANNOTATORS.items()),
    *((model, name, case) for model in ALL for name, case in ANY.items()),
    *((model, name, case) for model in LATENT for name, case in WITH_LATENTS.items()),
    *(("csae", name, case) for name, case in TRANSPORT.items()),
    *(("energy", name, case) for name, case in SETS.items()),
]


@pytest.fixture(scope="module")
def counted(request):
    """Count cases and steps, and print the counts at the end, where the output can be seen."""
    counts = Counter()
    yield counts
    total = f"{counts['cases']} cases, {counts['steps']} steps, {counts['values']} values"
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\nrobust: {total}, {counts['not finite']} not finite")


def parameter(model: str, name: str, case: Case) -> Any:
    quick = model == "csae" and name not in TRANSPORT
    marks = () if quick or name == "every option" else pytest.mark.slow
    return pytest.param(model, case, id=f"{model}, {name}", marks=marks)


# it warns of the very scales that are tried here
@pytest.mark.filterwarnings("ignore::probseg.utils.model_inputs.ScaleWarning")
@pytest.mark.parametrize(("name", "case"), [parameter(*case) for case in CASES])
def test_nothing_becomes_nan_or_infinite(name, case, counted):
    """Losses, gradients and weights of each step; the samples in the end."""
    model = make(name, case)
    optimizer = Adam(model.parameters(), lr=1e-2, fused=True)
    counted["cases"] += 1
    for step in range(STEPS):
        values = take_step(model, optimizer, case)
        weights = torch.stack([weight.abs().max() for weight in model.parameters()])
        bad = [name for name, value in values.items() if not value.isfinite()]
        counted.update({"steps": 1, "values": len(values) + len(weights), "not finite": len(bad)})
        assert not bad, (step, values)
        assert weights.isfinite().all(), step
    samples = model.eval().sample(case.image, 3)
    torch.testing.assert_close(samples.sum(2), torch.ones_like(samples[:, :, 0]))


def make(name: str, case: Case) -> Any:
    parts = {"backbone": {"name": "unet", **NET}}
    if name != "deterministic":
        parts["encoder"] = {"name": "axis-aligned", **NET}
    model = probseg.build(name, **{**parts, **case.options})
    last = model.logits if name == "deterministic" else model.decoder.logits
    with torch.no_grad():
        last.weight.mul_(case.logits)
        last.bias.add_(torch.tensor([1.0, -1.0]) * (case.logits - 1))
    return model


def take_step(model: Any, optimizer: Any, case: Case) -> dict[str, Tensor]:
    """Take a step as ``fit`` does."""
    optimizer.zero_grad()
    with torch.autocast("cpu", case.amp or torch.bfloat16, enabled=case.amp is not None):
        loss = partial(model.loss, ignore_index=255)
        done = accumulate(
            loss,
            case.image,
            asked(model, case.label),
            chunk=2,
            backward=lambda loss: loss.backward(),
        )
    norms = clip(optimizer, 1.0)
    optimizer.step()
    return {**done.terms, "loss": done.loss, "gradient norm": norms.total}


@pytest.mark.parametrize("name", ALL)
def test_fp16_on_the_cpu_starts_finite(name):
    """No tensor of a first step leaves fp16's range for images of the usual scale."""
    values = take_step(model := make(name, CASE), Adam(model.parameters(), fused=True), CASE)
    assert all(value.isfinite() for value in values.values()), values


CASE = Case(noise(), drawn(), amp=torch.float16)


OF_ANY = [
    name if name == "one million" else pytest.param(name, marks=pytest.mark.slow)
    for name, case in ANY.items()
    if not case.options
]


@pytest.mark.filterwarnings("ignore::probseg.utils.model_inputs.ScaleWarning")
@pytest.mark.parametrize("case", OF_ANY)
@pytest.mark.parametrize("name", WITH_PYRAMID)
def test_hierarchical_models_stay_finite(name, case):
    model, given = small_hierarchical(name), ANY[case]
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    for step in range(STEPS):
        values = take_step(model, optimizer, given)
        assert all(value.isfinite().all() for value in values.values()), (step, values)
        assert all(weight.isfinite().all() for weight in model.parameters()), step
    samples = model.eval().sample(given.image, 3)
    torch.testing.assert_close(samples.sum(2), torch.ones(3, *given.label.shape))
