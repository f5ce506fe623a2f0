"""How far the smaller of two masks lies within the larger one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import shared
from probseg.metrics.kernels import overlap
from probseg.utils.devices import float64_device


@dataclass(frozen=True)
class Nestedness:
    """The share of the smaller mask that the larger one holds, the mean over pairs, in [0, 1].

    ``|a ∩ b| / min(|a|, |b|)`` (Szymkiewicz and Simpson's overlap coefficient) of every two
    different maps of an image and each foreground class; 1 where one is empty. It is 1 where
    annotators differ only in how generously they draw, and 0 where they mark different things. It
    is NaN for a single map.

    Args:
        annotators: Whether of the annotations, a property of the data, in place of the samples.
    """

    annotators: bool = False
    higher_is_better = None  # best at the annotators'

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean of each image, (B,)."""
        counts, device = shared(evaluation, overlap), evaluation.annotations.device
        maps = counts.slices[self.annotators]
        size = counts.counts.diagonal(axis1=2, axis2=3)
        left, right = np.broadcast_arrays(size[..., None], size[..., None, :])
        if counts.ignored is not None:
            left = left - counts.ignored
            right = right - counts.ignored.swapaxes(2, 3)
        smaller = np.minimum(left, right)[..., maps, maps]
        held = (counts.counts[..., maps, maps] + (smaller == 0)) / np.maximum(smaller, 1)
        first, second = np.triu_indices(held.shape[2], 1)
        pairs = held[..., first, second]
        means = pairs.mean((1, 2)) if len(first) else np.full(len(held), np.nan)
        return torch.from_numpy(means).to(float64_device(device))


def nestedness() -> Nestedness:
    """Return the samples' nestedness."""
    return Nestedness()


def annotator_nestedness() -> Nestedness:
    """Return the annotations' nestedness."""
    return Nestedness(annotators=True)
