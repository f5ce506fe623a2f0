"""A model of an author's: terms and draw over features that are checked, padded and seeded."""

import pytest
import torch
from torch import nn

import probseg
from probseg.errors import InputError
from probseg.models.base import ProbabilisticModel


class Strided(nn.Sequential):
    """A backbone that takes sides of multiples of four only."""

    stride, out_channels = 4, 2

    def forward(self, image):
        assert not any(side % 4 for side in image.shape[2:])
        return super().forward(image)


class Noisy(ProbabilisticModel):
    """One convolution, and noise of the logits."""

    def __init__(self):
        super().__init__({"name": "noisy", "in_channels": 1, "classes": 2})
        self.backbone = Strided(nn.Conv2d(1, 2, 3, padding=1))
        self.seen = []

    def terms(self, features, label):
        self.seen.append(tuple(features.shape))
        return {"noise": (features + torch.randn_like(features)).mean() + label.float().mean()}

    def draw(self, features, n):
        return (features + torch.randn(n, *features.shape, device=features.device)).softmax(2)


def _inputs(height=13, width=10):
    image = torch.rand(2, 1, height, width)
    return image, (image[:, 0] > 0.5).long()


def test_any_size_is_padded_and_cropped_again():
    model, (image, label) = Noisy(), _inputs()
    model.loss(image, label)
    assert model.seen == [(2, 2, 13, 10)]
    samples = model.sample(image, 3)
    assert samples.shape == (3, 2, 2, 13, 10) and not samples.requires_grad


def test_a_generator_makes_both_reproducible_and_leaves_the_global_state():
    model, (image, label) = Noisy(), _inputs()
    calls = (
        lambda generator: model.loss(image, label, generator=generator)["noise"],
        lambda generator: model.sample(image, 2, generator=generator),
    )
    before = torch.get_rng_state()
    for call in calls:
        first, second, other = (call(torch.Generator().manual_seed(s)) for s in (1, 1, 2))
        assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_under_autocast_only_the_backbone_is_in_bfloat16():
    class Typed(Noisy):
        def terms(self, features, label):
            self.seen += [features.dtype, (features.flatten(2) @ features.flatten(2).mT).dtype]
            return super().terms(features, label)

        def draw(self, features, n):
            self.seen.append((features.flatten(2) @ features.flatten(2).mT).dtype)
            return super().draw(features, n)

    for width in (torch.float32, torch.float64):
        model, (image, label) = Typed().to(width), _inputs()
        narrow = []
        model.backbone.register_forward_hook(lambda *call, to=narrow: to.append(call[-1].dtype))
        with torch.autocast("cpu", torch.bfloat16):
            model.loss(image, label)
            model.sample(image, 2)
        assert narrow[0] == (torch.bfloat16 if width == torch.float32 else width)
        assert [one for one in model.seen if isinstance(one, torch.dtype)] == [width] * 3


def test_gradients_flow_and_inputs_are_checked():
    model, (image, label) = Noisy(), _inputs()
    model.loss(image, label)["noise"].backward()
    assert model.backbone[0].weight.grad.abs().sum() > 0
    for call in (
        lambda: model.loss(image.expand(-1, 3, -1, -1), label),
        lambda: model.loss(image, label[:, :5]),
        lambda: model.sample(image, 0),
    ):
        with pytest.raises(InputError):
            call()


def test_what_an_author_forgot_is_named():
    class Empty(Noisy):
        terms = ProbabilisticModel.terms
        draw = ProbabilisticModel.draw

    image, label = _inputs()
    with pytest.raises(NotImplementedError, match=r"Empty must define terms\(features, label\)"):
        Empty().loss(image, label)
    with pytest.raises(NotImplementedError, match=r"Empty must define draw\(features, n\)"):
        Empty().sample(image, 1)


def test_the_package_scores_such_a_model():
    shapes = probseg.datasets.create("ambiguous-shapes", samples=6, size=16)
    scores = probseg.evaluate(Noisy(), shapes, n=4, metrics=["ged"])
    assert len(scores["ged"]) == 6 and (scores["ged"] > 0).all()
