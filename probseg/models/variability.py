"""How much the annotators of an image differ, as a target for the samples."""

from __future__ import annotations

import torch
from torch import Tensor

from probseg.models.cross_entropy import REDUCTIONS
from probseg.options import check_choice, check_integer, check_number
from probseg.utils.tensors import IGNORED, certain


class Variability:
    r"""The squared difference of the samples' variance and the annotators', pixel by pixel.

    .. math:: \frac12 \sum_k \left(\mathrm{Var}_s\, \pi_{sk}
        - \mathrm{Var}_a\, [y_a = k]\right)^2

    of the probabilities :math:`\pi_s` of prior samples and the labels :math:`y_a` of annotators;
    of two classes that is the foreground's. Both variances are unbiased estimates (divided by one
    less than their number), for samples and annotators are few. Pixels with fewer than two labels
    are left out.

    Args:
        weight: Of the term.
        samples: S, of each image; at least 2.
        reduction: Over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.

    Raises:
        OptionError: One of them is out of range.

    References:
        Hu et al., "Supervised Uncertainty Quantification for Segmentation with Multiple
        Annotators", MICCAI 2019.
    """

    def __init__(self, weight: float, *, samples: int = 8, reduction: str = "pixel-sum") -> None:
        check_choice("reduction", reduction, REDUCTIONS)
        self.weight = check_number("variability", weight)
        self.samples = check_integer("variability_samples", samples, low=2)
        self.reduction = reduction

    def __call__(self, samples: Tensor, masks: Tensor) -> Tensor:
        """Return the weighted scalar of samples (S, B, K, H, W) and masks (B, A, H, W).

        Masks are ``IGNORED`` where nobody labelled.
        """
        target, several = label_variance(masks, samples.shape[2])
        differences = (samples.var(0) - target).square().sum(1) / 2
        counted = torch.where(several, differences, 0).sum((1, 2))
        if self.reduction == "pixel-mean":
            counted = counted / several.sum((1, 2)).clamp_min(1)
        return self.weight * counted.mean()


def label_variance(masks: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the unbiased variance (B, K, H, W) of labels (B, A, H, W), and where it is one.

    The second is (B, H, W) bool: where two annotators labelled.
    """
    count = (masks != IGNORED).sum(1)
    share = certain(masks, classes).sum(1) / count.clamp_min(1)[:, None]
    unbiased = count / (count - 1).clamp_min(1)
    return unbiased[:, None] * share * (1 - share), count > 1
