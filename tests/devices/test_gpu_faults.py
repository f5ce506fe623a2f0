"""What users do wrong on a GPU: one clear error each, and a device that goes on working."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from device_parts import DEVICE, LATENT, MODELS, data, on, only_cuda, tiny
from small_models import asked
from training_toys import Discs, make_model, quick

from probseg.errors import InputError, OptionError
from probseg.training import MemoryLimitError, fit
from probseg.training.gradients import GradientAccumulator

pytestmark = pytest.mark.gpu


def test_a_label_out_of_range_costs_no_context():
    """Each is an error or NaN, which training names; never a class, never a device assertion."""
    child = [sys.executable, str(Path(__file__).with_name("bad_labels.py")), DEVICE]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        child, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == 5 * (len(MODELS) + len(LATENT))
    wrong = [tried for tried in outcomes if tried[3] not in ("error", "nan") or not tried[4]]
    assert not wrong


@only_cuda
@pytest.mark.parametrize("name", MODELS)
def test_an_image_on_the_wrong_device_is_named(name):
    model, (image, label) = tiny(name).to(DEVICE), data()
    with pytest.raises(InputError, match=r"image must be on .* the model, cuda:0, not on cpu"):
        model.sample(image, 2)
    with pytest.raises(InputError, match=r"image must be on .* the model, cuda:0, not on cpu"):
        model.loss(image, label)
    with pytest.raises(InputError, match=r"label must be on .* the model, cuda:0, not on cpu"):
        model.loss(image.to(DEVICE), asked(model, label))
    with pytest.raises(InputError, match=r"image must be on .* the model, cpu, not on cuda:0"):
        model.cpu().sample(image.to(DEVICE), 2)


@only_cuda
@pytest.mark.parametrize("name", LATENT)
def test_latents_on_the_wrong_device_are_named(name):
    model, image = tiny(name).to(DEVICE), data()[0].to(DEVICE)
    with pytest.raises(InputError, match=r"cuda:0, not on cpu"):
        model.decode(image, torch.zeros(2, model.latent_dim))


@pytest.mark.parametrize("name", MODELS)
def test_nan_in_an_image_is_named_where_it_is_sampled(name):
    model, image = tiny(name).to(DEVICE), data()[0].to(DEVICE)
    image[0, 0, 3, 4] = torch.nan
    with pytest.raises(InputError, match="1 values that are NaN or infinite"):
        model.sample(image, 2)


def test_a_missing_gpu_is_named():
    with pytest.raises(OptionError, match=r"device 'cuda:99' is not on this machine, which has \d"):
        fit(make_model(), Discs(4), Discs(2), quick(device="cuda:99"), progress=False)


@only_cuda
def test_an_image_too_large_for_the_memory_is_told():
    """One image at a time does not fit, however few are taken."""
    model = tiny("deterministic").to(DEVICE)
    image, label = on(DEVICE, *data(2048))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.1 * torch.cuda.memory_reserved() / total)
    try:
        with pytest.raises(MemoryLimitError, match="one image of 1 × 2048 × 2048 at a time"):
            GradientAccumulator("auto").accumulate(
                model.loss, image, label, model=model, backward=lambda loss: loss.backward()
            )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert torch.ones(3, device=DEVICE).sum().item() == 3
