"""The cross-entropy term against sums written out, and reductions that there are not."""

import math

import pytest
import torch
from torch.nn import functional

from probseg.errors import OptionError
from probseg.models.cross_entropy import CrossEntropy
from probseg.utils.tensors import IGNORED


def test_reductions_differ_by_the_number_of_pixels():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(2, 2, 3, 4)
    label = torch.ones(2, 3, 4, dtype=torch.int64)
    label[0] = 0  # −log 1/4 a pixel; the other image −log 3/4
    mean = (math.log(4) + math.log(4 / 3)) / 2
    assert CrossEntropy("pixel-mean")(logits, label).item() == pytest.approx(mean)
    assert CrossEntropy("pixel-sum")(logits, label).item() == pytest.approx(12 * mean)


def test_an_unknown_reduction_is_named():
    with pytest.raises(OptionError, match=r"reduction must be one of .*not 'pixel-men'"):
        CrossEntropy("pixel-men")


def test_top_k_draws_pixels_in_proportion_to_their_cross_entropy() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0])  # of the wrong class
    logits = torch.stack([torch.zeros(4), logits]).view(1, 2, 1, 4).expand(20_000, 2, 1, 4)
    label = torch.zeros(20_000, 1, 4, dtype=torch.long)
    each = functional.cross_entropy(logits, label, reduction="none")
    drawn = CrossEntropy("pixel-mean", top_k=0.25)
    # one pixel an image: its expectation weighs each pixel by its own share
    expected = (each[0] ** 2).sum() / each[0].sum()
    assert drawn(logits, label).item() == pytest.approx(expected.item(), abs=0.02)


def test_top_k_of_all_pixels_is_the_whole_sum_and_of_some_their_count() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    whole = CrossEntropy("pixel-sum")(logits, label).item()
    assert CrossEntropy("pixel-sum", top_k=1.0)(logits, label).item() == pytest.approx(whole)
    some = CrossEntropy("pixel-sum", top_k=0.02)
    assert (some.pixels(128, 128), CrossEntropy("pixel-sum").pixels(4, 5)) == (328, 20)
    assert CrossEntropy("pixel-mean", top_k=0.5).pixels(4, 5) == 1


def test_top_k_leaves_out_pixels_that_nobody_labelled() -> None:
    logits, label = torch.randn(2, 2, 4, 4), torch.full((2, 4, 4), IGNORED)
    label[:, 0] = 1
    labelled = CrossEntropy("pixel-sum")(logits, label).item()
    assert CrossEntropy("pixel-sum", top_k=1.0)(logits, label).item() == pytest.approx(labelled)
    some = CrossEntropy("pixel-sum", top_k=0.5)(logits, label).item()
    assert 0 < some < labelled


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_top_k_is_a_share(share: float) -> None:
    with pytest.raises(OptionError, match="top_k"):
        CrossEntropy("pixel-sum", top_k=share)


@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
def test_top_k_is_a_share_of_the_labelled_pixels(reduction: str) -> None:
    logits, label = torch.randn(2, 2, 4, 8), torch.randint(2, (2, 4, 8))
    label[0, :, :4], label[1, 0] = IGNORED, IGNORED
    whole = CrossEntropy(reduction)(logits, label).item()
    assert CrossEntropy(reduction, top_k=1.0)(logits, label).item() == pytest.approx(whole)
    known = torch.where(label == IGNORED, IGNORED, 0)
    even = CrossEntropy(reduction, top_k=0.25)(torch.zeros(2, 2, 4, 8), known).item()
    pixels = 1 if reduction == "pixel-mean" else (4 + 6) / 2  # a quarter of 16 and of 24
    assert even == pytest.approx(pixels * math.log(2))
