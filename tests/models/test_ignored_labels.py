"""Pixels that nobody labelled, and soft labels, in the loss and in the posterior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, generator, small, total
from torch import nn
from torch.nn import functional

from probseg.errors import InputError
from probseg.models.base import ProbabilisticModel
from probseg.models.cross_entropy import REDUCTIONS, CrossEntropy, cross_entropies
from probseg.utils.tensors import IGNORED, one_hot, soft_label

MODELS = ("csae", "deterministic")


def some_ignored(value=255, classes=3):
    """Return images, and labels in which some pixels are ``value``."""
    image, label = batch(classes=classes)
    where = torch.rand(label.shape) < 0.3
    where[1, :4] = True
    return image, label.masked_fill(where, value), where


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from(REDUCTIONS))
def test_the_cross_entropy_is_a_loop_over_labelled_pixels(classes, seed, reduction):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, classes, 4, 5, generator=random)
    label = torch.randint(classes, (3, 4, 5), generator=random)
    label[torch.rand(label.shape, generator=random) < 0.4] = IGNORED
    label[2] = IGNORED  # an image that nobody labelled
    images = []
    for scores, classes_ in zip(logits.log_softmax(1), label, strict=True):
        chosen = [
            -scores[k, y, x].item()
            for y, row in enumerate(classes_.tolist())
            for x, k in enumerate(row)
            if k >= 0
        ]
        images.append(sum(chosen) / (max(len(chosen), 1) if reduction == "pixel-mean" else 1))
    found = CrossEntropy(reduction)(logits, label).item()
    assert found == pytest.approx(sum(images) / 3, abs=1e-4)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_without_such_pixels_nothing_changes_to_the_bit(reduction):
    logits, (_, label) = torch.randn(4, 3, 16, 16), batch(4, classes=3)
    each = functional.cross_entropy(logits, label, reduction="none")
    wanted = each.mean() if reduction == "pixel-mean" else each.sum((1, 2)).mean()
    assert CrossEntropy(reduction)(logits, label).equal(wanted)


def test_ignored_pixels_get_no_gradient():
    logits = torch.randn(2, 3, 16, 16, requires_grad=True)
    _, label, where = some_ignored(IGNORED)
    CrossEntropy("pixel-sum")(logits, label).backward()
    assert not logits.grad.movedim(1, -1)[where].any()
    assert logits.grad.movedim(1, -1)[~where].any(-1).all()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [255, -1, -100, np.int64(7)])
def test_any_value_may_stand_for_pixels_that_nobody_labelled(name, value):
    model = small(name, classes=3)
    torch.manual_seed(0)
    image, label, where = some_ignored(value)
    torch.manual_seed(1)
    terms = model.loss(image, label, ignore_index=value, generator=generator())
    assert all(term.isfinite() for term in terms.values())
    torch.manual_seed(0)
    _, other, _ = some_ignored(100)
    again = model.loss(image, other, ignore_index=100, generator=generator())
    background = model.loss(image, label.masked_fill(where, 0), generator=generator())
    assert total(terms).equal(total(again)) and not total(terms).equal(total(background))


@pytest.mark.parametrize("name", MODELS)
def test_a_class_may_be_ignored(name):
    image, label = batch(classes=3)
    model = small(name, classes=3)
    found = model.loss(image, label, ignore_index=2, generator=generator())
    wanted = model.loss(
        image, label.masked_fill(label == 2, 255), ignore_index=255, generator=generator()
    )
    assert total(found).equal(total(wanted))


def test_the_posterior_sees_no_class_there():
    model, (image, label, where) = small("csae", classes=3), some_ignored()
    seen = []
    model.posterior_encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.posterior(image, label, ignore_index=255)
    channels = seen[0][:, 1:].movedim(1, -1)
    assert (channels[where] == -0.5).all()
    assert channels[~where].equal(functional.one_hot(label[~where], 3) - 0.5)


def test_reconstruction_and_densities_ignore_as_well():
    model, (image, label, where) = small("csae", classes=3), some_ignored()
    model.eval()
    again = label.masked_fill(where, -7)
    for method in ("reconstruct", "posterior", "densities"):
        with pytest.raises(InputError, match=r"0 to 2, not values from 0 to 255.*ignore_index=255"):
            getattr(model, method)(image, label)
    first = model.reconstruct(image, label, ignore_index=255, generator=generator())
    second = model.reconstruct(image, again, ignore_index=-7, generator=generator())
    assert first.equal(second)
    (base, _), (other, _) = (
        model.densities(image, one, ignore_index=value)
        for one, value in ((label, 255), (again, -7))
    )
    assert base.q.mean.equal(other.q.mean)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [3, 254, -1])
def test_any_other_value_is_still_refused(name, value):
    image, label, _ = some_ignored()
    label[0, 0, 0] = value
    with pytest.raises(InputError, match=rf"0 to 2, not values .*with ignore_index={value}"):
        small(name, classes=3).loss(image, label, ignore_index=255)


@pytest.mark.parametrize("value", [True, 255.0, "255"])
def test_what_to_ignore_is_an_integer(value):
    image, label = batch()
    with pytest.raises(InputError, match="ignore_index must be an integer, such as 255, or None"):
        small("deterministic").loss(image, label, ignore_index=value)


class Author(ProbabilisticModel):
    """A model by its terms, with a loss of torch."""

    def __init__(self):
        super().__init__({"name": "author", "in_channels": 1, "classes": 2})
        self.layer = nn.Conv2d(1, 2, 1)

    def features(self, image):
        return self.layer(image)

    def terms(self, features, label):
        return {"torch": functional.cross_entropy(features, label)}


def test_torchs_own_loss_leaves_them_out_of_an_authors_terms():
    image, label, where = some_ignored(classes=2)
    model = Author()
    found = model.loss(image, label, ignore_index=255)["torch"]
    each = functional.cross_entropy(
        model.layer(image), label.masked_fill(where, 0), reduction="none"
    )
    torch.testing.assert_close(found, each[~where].mean())
    with pytest.raises(InputError, match=r"\(B, H, W\).*not \(2, 2, 16, 16\)"):
        model.loss(image, one_hot(label.masked_fill(where, 0), 2).float())


# Soft labels


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 3])
def test_certain_soft_labels_are_labels(name, classes):
    image, label = batch(classes=classes)
    model = small(name, classes=classes)
    wanted = model.loss(image, label, generator=generator())
    found = model.loss(image, one_hot(label, classes).float(), generator=generator())
    torch.testing.assert_close(total(found), total(wanted), rtol=1e-6, atol=0)


def test_a_soft_label_costs_the_expected_cross_entropy():
    logits, p = torch.randn(2, 2, 8, 8), torch.rand(2, 8, 8)
    zeros, ones = (torch.full((2, 8, 8), k) for k in (0, 1))
    wanted = (1 - p) * cross_entropies(logits, zeros) + p * cross_entropies(logits, ones)
    torch.testing.assert_close(cross_entropies(logits, soft_label(p)), wanted)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_soft_labels_ignore_as_labels_do(reduction):
    _, label, _ = some_ignored(classes=2)
    logits = torch.randn(2, 2, 16, 16)
    model = small("deterministic", reduction=reduction)
    model._logits = lambda image: logits
    image = torch.zeros(2, 1, 16, 16)
    soft = soft_label(label.float(), 255)
    found = model.loss(image, soft, ignore_index=255)
    wanted = model.loss(image, label, ignore_index=255)
    torch.testing.assert_close(total(found), total(wanted))


@pytest.mark.parametrize(
    "soft",
    [torch.full((2, 2, 8, 8), 0.7), torch.full((2, 2, 8, 8), torch.nan), torch.zeros(2, 2, 8, 8)],
)
def test_a_soft_label_sums_to_one(soft):
    with pytest.raises(
        InputError, match=r"sum to one .* at 128 pixels; .*torch\.stack\(\[1 - p, p"
    ):
        small("csae").loss(torch.zeros(2, 1, 8, 8), soft)


def test_one_probability_a_pixel_is_refused_with_the_remedy():
    image, p = torch.zeros(2, 1, 8, 8), torch.full((2, 8, 8), 0.7)
    with pytest.raises(InputError, match=r"integer classes, not torch\.float32.*\[1 - p, p\]"):
        small("csae").loss(image, p)
    assert total(small("csae").loss(image, torch.stack([1 - p, p], dim=1))).isfinite()


# The hint at a label of four dimensions


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 3, 8, 8), r"channels are one-hot classes, .* label\.argmax\(1\)"),
        ((2, 8, 8, 3), r"last numbers are one-hot classes, .* label\.argmax\(3\)"),
        ((2, 1, 8, 8), r"channel axis with label\[:, 0\]"),
        ((2, 8, 8, 1), r"channel axis with label\[\.\.\., 0\]"),
        ((2, 4, 8, 8), r"one annotation of each image, .*choose_annotator\(label\)"),
    ],
)
def test_the_hint_at_a_fourth_dimension_is_right(shape, hint):
    label = torch.zeros(shape, dtype=torch.long)
    with pytest.raises(InputError, match=hint):
        small("deterministic", classes=3).loss(torch.zeros(2, 1, 8, 8), label)


def test_as_many_annotators_as_classes_may_be_either():
    both = r"one-hot classes, .*label\.argmax\(1\); if they are annotators, .*label\[:, i\]"
    with pytest.raises(InputError, match=both):
        small("deterministic").loss(torch.zeros(2, 1, 8, 8), torch.ones(2, 2, 8, 8).long())


@pytest.mark.parametrize("axis", [1, -1])
def test_who_follows_the_hint_trains_on_the_label(axis):
    _, label = batch(classes=3)
    hot = functional.one_hot(label, 3)
    assert (hot.movedim(-1, 1) if axis == 1 else hot).argmax(axis).equal(label)
