"""Hu et al.'s variability term against variances written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import batch, generator, small

from probseg.errors import OptionError
from probseg.models.variability import Variability, label_variance
from probseg.utils.tensors import IGNORED


def by_hand(samples, masks, reduction):
    """The term by loops and NumPy's variance."""
    _, images, classes, height, width = samples.shape
    terms = []
    for b in range(images):
        pixels = []
        for y, x in np.ndindex(height, width):
            labels = [k for k in masks[b, :, y, x].tolist() if k != IGNORED]
            if len(labels) < 2:
                continue
            pixels.append(
                0.5
                * sum(
                    (
                        samples[:, b, k, y, x].double().numpy().var(ddof=1)
                        - np.var([label == k for label in labels], ddof=1)
                    )
                    ** 2
                    for k in range(classes)
                )
            )
        total = sum(pixels)
        terms.append(total / max(len(pixels), 1) if reduction == "pixel-mean" else total)
    return float(np.mean(terms))


@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_a_loop_over_pixels(reduction, classes):
    torch.manual_seed(classes)
    samples = torch.randn(4, 3, classes, 3, 5).softmax(2)
    masks = torch.randint(classes, (3, 4, 3, 5))
    masks[torch.rand(masks.shape) < 0.4] = IGNORED
    masks[1, 2:] = IGNORED  # two are absent
    masks[2] = IGNORED  # nobody labelled it
    found = Variability(3.0, reduction=reduction)(samples, masks).item()
    assert found == pytest.approx(3 * by_hand(samples, masks, reduction), rel=1e-5)


def test_the_closed_form_of_two_annotators_who_differ():
    """Labels 0 and 1 have the variance 1/2, samples of 1/4 and 3/4 that of 1/8."""
    foreground = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 4, 5)
    samples = torch.cat([1 - foreground, foreground], dim=2)
    masks = torch.stack([torch.zeros(1, 4, 5), torch.ones(1, 4, 5)], dim=1).long()
    assert label_variance(masks, 2)[0].unique().tolist() == [0.5]
    assert Variability(1.0)(samples, masks).item() == pytest.approx(20 * (1 / 2 - 1 / 8) ** 2)
    mean = Variability(1.0, reduction="pixel-mean")(samples, masks).item()
    assert mean == pytest.approx((1 / 2 - 1 / 8) ** 2)


def test_samples_that_vary_as_the_annotators_do_cost_nothing():
    masks = torch.randint(3, (2, 4, 5, 5))
    samples = torch.nn.functional.one_hot(masks, 3).movedim(-1, 2).transpose(0, 1).float()
    assert Variability(1.0)(samples, masks).item() == pytest.approx(0, abs=1e-6)


def test_it_is_a_term_of_the_loss_and_reaches_the_prior():
    model = small("punet", all_annotators=True, variability=2.0, variability_samples=3)
    image, _ = batch()
    masks = torch.randint(2, (2, 4, 16, 16))
    seen = []
    handle = model.decoder.register_forward_hook(lambda _, given, out: seen.append(out))
    terms = model.loss(image, masks, generator=generator())
    handle.remove()
    assert terms.keys() == {"cross_entropy", "kl", "variability"}
    samples = seen[-1].softmax(2)
    assert samples.shape == (3, 2, 2, 16, 16)
    wanted = 2 * by_hand(samples.detach(), masks, "pixel-sum")
    assert terms["variability"].item() == pytest.approx(wanted, rel=1e-4)
    terms["variability"].backward()
    assert model.prior_encoder.head.weight.grad.abs().sum() > 0
    assert model.posterior_encoder.head.weight.grad is None


def test_the_other_terms_are_as_they_are_without_it():
    image, masks = batch()[0], torch.randint(2, (2, 4, 16, 16))
    losses = []
    for options in ({}, {"variability": 1.0}):
        torch.manual_seed(0)
        model = small("csae", all_annotators=True, **options)
        losses.append(model.loss(image, masks, generator=generator()))
    for name, value in losses[0].items():
        assert value.equal(losses[1][name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variability": 1.0}, r"variability=1.0 .*all_annotators=True, or leave variability out"),
        ({"variability": -1.0, "all_annotators": True}, "variability must be a non-negative"),
        ({"variability_samples": 1}, "variability_samples must be an integer of at least 2"),
        ({"penalties": {"variability": {}}}, "cannot be called 'variability'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        small("punet", **options)
