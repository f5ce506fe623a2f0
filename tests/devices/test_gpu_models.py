"""Every model on a GPU is the model on the CPU: same weights, same noise, same numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from device_parts import (
    DEVICE,
    DIVERGENCES,
    LATENT,
    MODELS,
    PROJECTORS,
    SameNoise,
    called,
    close,
    data,
    gradients,
    learn,
    on,
    only_cuda,
    reproducible,
    tiny,
    with_divergence,
)
from small_models import NET, asked, generator, shaken

import probseg
from probseg.errors import InputError
from probseg.models.latent import LatentVariableModel
from probseg.utils.seeding import seeded

pytestmark = pytest.mark.gpu

PRECISIONS = [(torch.float32, 1e-4), (torch.float64, 1e-9)]
BACKBONES = [
    {"name": "unet", **NET, "norm": "batch"},
    {"name": "unet", **NET, "norm": "group"},
    {"name": "unet", **NET, "norm": "instance"},
    {"name": "smp", "encoder": "resnet18", "features": 4},
]


def twins(model, dtype=torch.float32):
    """Return the model on the CPU and a copy on the device."""
    model = model.to(dtype)
    return model, copy.deepcopy(model).to(DEVICE)


def same_training(model, image, label, tolerance):
    """Compare losses and gradients; a sum over thousands of pixels rounds more in a gradient."""
    here, there = twins(model, image.dtype)
    wanted, found = learn(here, image, label), learn(there, *on(DEVICE, image, label))
    assert wanted.keys() == found.keys()
    for name, term in wanted.items():
        close(found[name], term, tolerance)
    grown = gradients(here)
    assert grown.keys() == gradients(there).keys()
    largest = max(gradient.abs().max().item() for gradient in grown.values())
    for name, gradient in gradients(there).items():
        difference = (gradient.cpu() - grown[name]).abs().max().item()
        assert difference <= 10 * tolerance * largest, name


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS, ids=["float32", "float64"])
@pytest.mark.parametrize("size", [16, 9])
def test_losses_and_gradients_are_the_cpu_s(name, dtype, tolerance, size):
    image, label = data(size)
    model = shaken(tiny(name), 0.1)
    same_training(model, image.to(dtype), asked(model, label), tolerance)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=called)
@pytest.mark.parametrize("projector", PROJECTORS)
def test_every_projector_and_divergence_is_the_cpu_s(projector, divergence):
    image, label = data()
    same_training(with_divergence(divergence, projector), image.double(), label, 1e-7)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.get("norm", b["name"]))
def test_every_kind_of_backbone_is_the_cpu_s(backbone):
    image, label = data(32)
    model = tiny("deterministic", backbone=backbone)
    same_training(model, image.double(), label, 1e-8)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS, ids=["float32", "float64"])
def test_samples_are_the_cpu_s(name, dtype, tolerance):
    image = data(9)[0].to(dtype)
    models = twins(shaken(tiny(name), 0.1).eval(), dtype)
    found = []
    for model, device in zip(models, ("cpu", DEVICE), strict=True):
        with SameNoise():
            found.append(model.sample(image.to(device), 5))
    assert found[1].device.type == torch.device(DEVICE).type
    close(found[1], found[0], tolerance)


@pytest.mark.parametrize("name", LATENT)
def test_what_latents_become_is_the_cpu_s(name):
    image, label = data(9)
    here, there = twins(shaken(tiny(name), 0.1).eval())
    latent = torch.randn(3, 2, here.latent_dim, generator=generator())
    there_image, there_label, there_latent = on(DEVICE, image, label, latent)
    close(there.decode(there_image, there_latent), here.decode(image, latent), 1e-4)
    with torch.no_grad():
        bases = [there.densities(there_image, there_label)[0], here.densities(image, label)[0]]
    for found, wanted in zip(*bases, strict=True):
        close(found.base_dist.loc, wanted.base_dist.loc, 1e-4)
        close(found.base_dist.scale, wanted.base_dist.scale, 1e-4)
        assert found.log_prob(there_latent).shape == (3, 2)
    close(there.prior(there_image).mean, here.prior(image).mean, 1e-4)
    close(there.posterior(there_image, there_label).mean, here.posterior(image, label).mean, 1e-4)
    with SameNoise():
        wanted = here.reconstruct(image, label)
    with SameNoise():
        found = there.reconstruct(there_image, there_label)
    close(found, wanted, 1e-4)


@pytest.mark.parametrize("name", LATENT)
@pytest.mark.parametrize("source", ["cpu", DEVICE])
@pytest.mark.parametrize("method", ["sample", "loss", "reconstruct"])
def test_draws_follow_a_generator_of_any_device(name, source, method):
    image, label = on(DEVICE, *data())
    model = tiny(name).to(DEVICE).eval()

    def draw(source):
        if method == "sample":
            return model.sample(image, 3, generator=source)
        if method == "reconstruct":
            return model.reconstruct(image, label, generator=source)
        return model.loss(image, asked(model, label), generator=source)["cross_entropy"].detach()

    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        reproducible(draw, lambda: torch.Generator(source).manual_seed(3))


def test_the_same_noise_on_every_device():
    found = []
    for device in (torch.device("cpu"), torch.device(DEVICE)):
        with seeded(generator(1), device):
            drawn = torch.zeros(4, device=device).normal_(), torch.rand(4, device=device)
            found.append(torch.cat(drawn).cpu())
    assert torch.equal(*found)


@only_cuda
def test_a_gpu_s_generator_serves_no_model_on_the_cpu():
    with pytest.raises(InputError, match=r"generator is on cuda.* and the model on cpu"):
        tiny("punet").sample(data()[0], 3, generator=torch.Generator(DEVICE))


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_a_gpu_is_read_on_the_cpu(name, tmp_path):
    model = shaken(tiny(name), 0.1).to(DEVICE)
    model.save(tmp_path / "model.safetensors")
    loaded = probseg.load(tmp_path / "model.safetensors")
    for key, value in loaded.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, model.state_dict()[key].cpu())
    assert loaded.sample(data()[0], 2).isfinite().all()


def test_every_latent_model_is_tried():
    assert {type(tiny(name)) for name in LATENT} == {LatentVariableModel}
