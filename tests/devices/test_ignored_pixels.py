"""Pixels that nobody labelled, off the CPU: no wait in a step, and the results of the CPU."""

from __future__ import annotations

import pytest
import torch
from device_parts import MODELS, data, tiny
from fake_cuda import FakeCuda, autocast, fakes
from no_float64 import Without64
from small_models import asked, generator
from test_fake_cuda import FakeStep
from test_no_float64 import moved_there, same

from probseg.datasets.annotators import majority_vote
from probseg.interfaces import Batch, Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.training.augmentation import apply, draw
from probseg.training.settings import TrainingSettings
from probseg.utils.tensors import soft_label

OF_SAMPLES = ("ged", "w-iou", "w-hausdorff", "w-cross-entropy", "hungarian-iou", "ncc", "diversity")


SOFT = [name for name in MODELS if tiny(name).soft_labels]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.uint8) for name in MODELS), *((name, torch.float32) for name in SOFT)],
)
def test_a_training_step_that_ignores_never_waits(name, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    gpu = FakeCuda()
    settings = TrainingSettings(batch_size=4, augment="ignore-outside")
    step = FakeStep(tiny(name), settings, gpu)
    step.ignore_index = 255
    batch = Batch(
        gpu.tensor(torch.rand(4, 1, 9, 9)), gpu.tensor(torch.zeros(4, 3, 9, 9, dtype=dtype))
    )
    with gpu, autocast(torch.bfloat16):
        step.training_step(batch, 0)
    assert gpu.waits == [] and fakes(step.logged)


def partly(value=255):
    """Return images, and labels some of whose pixels are ``value``."""
    image, label = data(16)
    label[:, 3:6] = value
    return image, label


def labels(model, label):
    """Return labels as the model's loss takes them: also a soft one, or sets of all annotators.

    Of the annotators the first is absent from the second image, and the last from both.
    """
    found = [asked(model, label)]
    if model.soft_labels:
        found.append(soft_label(torch.where(label == 255, label, 0.3 + 0.5 * label), 255))
    if model.all_annotators:
        found.append(torch.stack([label, label.flip(2), torch.full_like(label, 255)], dim=1))
        found[-1][1, 0] = 255
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_there_is_the_one_here(name):
    model, (image, label) = tiny(name), partly()
    given = labels(model, label)
    assert len(given) == 2
    wanted = [model.loss(image, one, ignore_index=255, generator=generator()) for one in given]
    moved_there(model)
    with Without64():
        for one, terms in zip(given, wanted, strict=True):
            found = model.loss(
                image.to("mps"), one.to("mps"), ignore_index=255, generator=generator()
            )
            for term, value in found.items():
                torch.testing.assert_close(value.detach().cpu(), terms[term].detach())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("value", "ignore_index"), [(-100, None), (-100, 255), (255, None)])
def test_a_value_that_nobody_may_look_at_makes_the_loss_nan(name, value, ignore_index):
    """Also what stands for ignored pixels within."""
    model, (image, label) = moved_there(tiny(name)), partly(value)
    label = asked(model, label)
    with Without64():
        terms = model.loss(image.to("mps"), label.to("mps"), ignore_index=ignore_index)
        compared = terms["set_loss" if "set_loss" in terms else "cross_entropy"]
        assert compared.detach().cpu().isnan()


def test_what_is_no_probability_makes_the_loss_nan():
    model = moved_there(tiny("deterministic"))
    with Without64():
        soft = torch.full((2, 2, 16, 16), 0.7).to("mps")
        terms = model.loss(partly()[0].to("mps"), soft)
        assert terms["cross_entropy"].detach().cpu().isnan()


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_there_are_those_here(classes):
    probabilities = torch.randn(3, 5, classes, 9, 11).softmax(2)
    annotations = torch.randint(classes, (3, 4, 9, 11))
    annotations[torch.rand(annotations.shape) < 0.3] = 255
    annotations[0, :, :2] = 255
    wanted = compute_metrics(Evaluation(probabilities, annotations, ignore_index=255), OF_SAMPLES)
    with Without64():
        there = Evaluation(probabilities.to("mps"), annotations.to("mps"), ignore_index=255)
        same(compute_metrics(there, OF_SAMPLES), wanted, atol=1e-9)
        votes = majority_vote(annotations.to("mps"), ignore_index=255)
        assert votes.cpu().equal(majority_vote(annotations, ignore_index=255))


def test_augmentation_there_is_the_one_here():
    image, masks = torch.rand(3, 1, 16, 16), torch.randint(0, 2, (3, 4, 16, 16)).byte()
    drawn = draw(3, generator())
    _, wanted = apply(image, masks, drawn, outside=255)
    with Without64():
        _, found = apply(image.to("mps"), masks.to("mps"), drawn, outside=255)
        assert found.cpu().equal(wanted)
