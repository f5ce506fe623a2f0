"""The cross-entropy of the hardest pixels, as an option of every latent model."""

from __future__ import annotations

import pytest
import torch
from small_models import RECIPES, batch, generator, small, total

import probseg
from probseg.errors import OptionError
from probseg.utils.tensors import one_hot


@pytest.mark.parametrize("name", RECIPES)
def test_the_draw_comes_from_the_generator(name):
    model, (image, label) = small(name, top_k=0.1), batch()
    before = torch.get_rng_state()
    first, again = (model.loss(image, label, generator=generator(1)) for _ in range(2))
    other = model.loss(image, label, generator=generator(2))
    assert all(first[term].equal(again[term]) for term in first)
    assert not first["cross_entropy"].equal(other["cross_entropy"])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_share_of_the_pixels_counts_and_the_hardest_first():
    whole, some = (small("punet", top_k=share) for share in (None, 0.25))
    some.load_state_dict(whole.state_dict())
    image, label = batch()
    of_all, of_some = (
        model.loss(image, label, generator=generator())["cross_entropy"] for model in (whole, some)
    )
    assert 0.25 * of_all < of_some < of_all  # a draw of equal chances would be a quarter


@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
def test_soft_labels_and_pixels_that_nobody_labelled(reduction):
    """The share is of labelled pixels, so that all of them are drawn and none of the others."""
    whole, some = (small("csae", top_k=share, reduction=reduction) for share in (None, 1.0))
    some.load_state_dict(whole.state_dict())
    image, label = batch()
    label[:, 8:] = 255
    found, wanted = (
        model.loss(image, label, generator=generator(), ignore_index=255)["cross_entropy"]
        for model in (some, whole)
    )
    torch.testing.assert_close(found, wanted)
    soft = one_hot(label, 2).float().masked_fill((label == 255)[:, None], 255)
    again = some.loss(image, soft, generator=generator(), ignore_index=255)["cross_entropy"]
    torch.testing.assert_close(again, wanted)
    fractions = 0.6 * one_hot(label.clamp(max=1), 2) + 0.2
    total(some.loss(image, fractions.float())).backward()
    assert all(parameter.grad.isfinite().all() for parameter in some.parameters())


def test_a_description_without_it_counts_all_pixels(tmp_path):
    spec = small("punet").spec
    assert spec.pop("top_k") is None
    assert probseg.build(**spec).cross_entropy.top_k is None
    model = small("punet", top_k=0.02)
    model.save(tmp_path / "model.safetensors")
    again = probseg.load(tmp_path / "model.safetensors")
    assert again.spec == model.spec and again.cross_entropy.top_k == 0.02


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_is_above_zero_and_at_most_one(share):
    with pytest.raises(OptionError, match="top_k"):
        small("punet", top_k=share)
