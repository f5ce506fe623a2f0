"""What users give to models by mistake is refused with the remedy, and sampling changes nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hierarchical_models import PYRAMID, WITH_PYRAMID
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import ENCODER, UNET, batch, generator, small, total
from torch import nn

import probseg
from probseg.errors import InputError
from probseg.utils.model_inputs import ScaleWarning

ALL = ("punet", "deterministic")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", [0, 1.5, np.int64(3), np.random.default_rng(0)])
def test_a_seed_is_no_generator(name, seed):
    model, (image, _) = small(name).eval(), batch()
    for call in (lambda: model.sample(image, 2, generator=seed), lambda: loss(model, seed)):
        with pytest.raises(InputError, match=r"must be a torch\.Generator or None, not .*manual_s"):
            call()


def loss(model, seed):
    return model.loss(*batch(), generator=seed)


def test_the_remedy_for_a_seed_is_the_generator_of_that_seed():
    with pytest.raises(InputError, match=r"torch\.Generator\(\)\.manual_seed\(7\)"):
        small("punet").sample(batch()[0], 2, generator=7)


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        (torch.full((2, 6), torch.nan), "hold 12 values that are NaN or infinite"),
        (torch.tensor([torch.inf, 0, 0, 0, 0, 0]).expand(2, 6), "hold 2 values"),
        (torch.zeros(2, 6, dtype=torch.complex64), "real numbers, not torch.complex64"),
        (np.zeros((2, 6)), "must be a torch.Tensor, not ndarray; .*torch.as_tensor"),
        (torch.zeros(2, 5), r"must be \(\.\.\., 2, 6\), not \(2, 5\)"),
    ],
)
def test_latents_that_cannot_be_decoded(latent, message):
    with pytest.raises(InputError, match=message):
        small("punet").decode(batch()[0], latent)


def test_latents_of_whole_numbers_are_numbers():
    model, (image, _) = small("punet").eval(), batch()
    whole = model.decode(image, torch.ones(2, 6, dtype=torch.long))
    torch.testing.assert_close(whole, model.decode(image, torch.ones(2, 6)))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((16, 16), "image[None, None]"),
        ((1, 16, 16), "image[None]"),
        ((5, 16, 16), "image[:, None]"),
        ((1, 1, 5, 16, 16), "image.movedim(2, 1).flatten(0, 1)"),
        ((2, 5, 16, 16), "image.flatten(0, 1)[:, None]"),
        ((2, 16, 16, 1), "image.movedim(3, 1)"),
    ],
)
def test_the_remedy_for_an_image_of_another_shape_works(shape, remedy):
    model, image = small("deterministic").eval(), torch.rand(shape)
    with pytest.raises(InputError) as refused:
        model.sample(image, 1)
    assert remedy in str(refused.value)
    assert ("volume" in str(refused.value)) == (5 in shape)
    assert model.sample(eval(remedy, {"image": image}), 1).isfinite().all()


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((2, 2, 16, 16), "label.argmax(1)"),
        ((2, 16, 16, 2), "label.argmax(3)"),
        ((2, 1, 16, 16), "label[:, 0]"),
        ((2, 16, 16, 1), "label[..., 0]"),
        ((16, 16), "label[None]"),
        ((2, 4, 16, 16), "label[:, i]"),
    ],
)
def test_the_remedy_for_a_label_of_another_shape_fits_it(shape, remedy):
    model, image = small("punet"), torch.rand(1 if len(shape) == 2 else 2, 1, 16, 16)
    with pytest.raises(InputError) as refused:
        model.loss(image, torch.zeros(shape, dtype=torch.long))
    assert remedy in str(refused.value)
    if "[:, 0]" not in remedy:
        assert "[:, 0]" not in str(refused.value)


@pytest.mark.parametrize("factor", [255, -1000])
def test_images_on_a_scale_of_their_own_are_told(factor):
    model, (_, label) = small("punet"), batch()
    with pytest.warns(ScaleWarning, match=r"about \d+ \(root mean square\).*image / 255"):
        model.loss(factor * torch.rand(2, 1, 16, 16), label)


@pytest.mark.parametrize("scale", [1.0, 0.01, 3.0])
def test_usual_scales_are_not_told(scale):  # warnings are errors here
    model, (image, label) = small("punet"), batch()
    assert total(model.loss(scale * image, label)).isfinite()
    assert model.sample(torch.zeros(1, 1, 8, 8), 1).isfinite().all()


NORMS = {"batch": 1, "instance": 2}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALL)
def test_a_normalisation_of_one_value_says_what_can_be_done(name, norm):
    net = {"channels": [4, 4, 4, 4], "norm": norm}
    encoder = {} if name == "deterministic" else {"encoder": {**ENCODER, **net}}
    model = small(name, backbone={**UNET, **net}, **encoder)
    image, label = torch.rand(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)
    calls = [lambda: model.loss(image, label), lambda: model.sample(image, 2)]
    if name != "deterministic":
        calls += [lambda: model.prior(image), lambda: model.posterior(image, label)]
        calls += [lambda: model.reconstruct(image, label)]
        calls += [lambda: model.decode(image, torch.zeros(1, 6))]
    for call in calls:
        with pytest.raises(InputError, match=r"image shrank to one pixel.*larger images, fewer"):
            call()
    # what it says
    assert model.sample(torch.rand(1, 1, 16, 16), 2).isfinite().all()
    if norm == "batch":
        assert model.sample(torch.rand(2, 1, 8, 8), 2).isfinite().all()
        assert model.eval().sample(image, 2).isfinite().all()


NORMALISED = {"norm": "batch"}


@cache
def normalised(name):
    """A registered model whose networks keep statistics of batches."""
    if name in WITH_PYRAMID:
        return small(name, pyramid={**PYRAMID, **NORMALISED}, scales=2)
    encoder = {} if name == "deterministic" else {"encoder": {**ENCODER, **NORMALISED}}
    return small(name, backbone={**UNET, **NORMALISED}, **encoder)


def tiled(model, image, label):
    refusal = r"call model\.eval\(\) first|has no backbone that could go over"
    with pytest.raises(InputError, match=refusal):
        model.sample(image, 2, tile=8)


ASKED = {
    "sample": lambda model, image, label: model.sample(image, 2),
    "tiles": tiled,
    "reconstruct": lambda model, image, label: model.reconstruct(image, label),
    "decode": lambda model, image, label: model.decode(image, torch.zeros(len(image), 6)),
    "prior": lambda model, image, label: model.prior(image),
    "posterior": lambda model, image, label: model.posterior(image, label),
    "densities": lambda model, image, label: model.densities(image, label),
    "latents": lambda model, image, label: model.latents(image, label),
    "sampled_density": lambda model, image, label: model.sampled_density(
        image, projected=hasattr(model, "prior_projector")
    ),
}


def network(model):
    return getattr(model, "backbone", None) or model.pyramid


@pytest.mark.parametrize("name", probseg.models)
@settings(max_examples=10, deadline=None)
@given(
    asked=st.lists(st.sampled_from(sorted(ASKED)), min_size=1, max_size=4),
    gradients=st.booleans(),
    partly=st.booleans(),
)
def test_what_is_asked_in_training_mode_leaves_the_statistics(name, asked, gradients, partly):
    model, (image, label) = normalised(name).train(not partly), batch()
    learnt = label[:, None] if model.all_annotators else label
    network(model).train()
    pending = total(model.loss(image, learnt))
    before = {key: value.clone() for key, value in model.named_buffers()}
    with torch.set_grad_enabled(gradients):
        for call in asked:
            if call == "tiles" or hasattr(model, call):
                ASKED[call](model, image, label)
    assert network(model).training and model.training is not partly
    assert all(torch.equal(value, before[key]) for key, value in model.named_buffers())
    pending.backward()  # a loss from before can still be differentiated
    model.loss(image, learnt)
    changed = {key for key, value in model.named_buffers() if not torch.equal(value, before[key])}
    networks = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    training = [module for module in networks if module.training]
    assert len(changed) == 3 * len(training)  # mean, variance and number of batches


def test_samples_of_the_baseline_can_be_changed_one_by_one():
    samples = small("deterministic").eval().sample(batch()[0], 3, generator=generator())
    samples[0].zero_()
    assert samples[1:].sum() > 0


@pytest.mark.parametrize("n", [np.int64(2), np.uint8(2)])
def test_counts_of_numpy(n):
    assert small("punet").sample(batch()[0], n).shape[0] == 2


@pytest.mark.parametrize("n", [0, True, 2.0, np.float64(2), np.True_, "2"])
def test_what_is_no_count(n):
    with pytest.raises(InputError, match="number of samples must be a positive integer"):
        small("punet").sample(batch()[0], n)
