"""The cross-entropy term against sums written out, and reductions that there are not."""

import math

import pytest
import torch

from probseg.errors import OptionError
from probseg.models.cross_entropy import CrossEntropy


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
