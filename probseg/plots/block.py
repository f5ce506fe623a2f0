"""What a sample sheet shows of annotations, or of the samples of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from probseg.plots.style import Array, Labels


@dataclass(frozen=True)
class Block:
    """What one row of a sample sheet shows.

    Args:
        labels: Segmentations (N, H, W), integer classes, 0 is background.
        mean: Mean probability of the foreground (H, W).
        sd: Its standard deviation over the samples (H, W); of more than two classes that of all
            their probabilities, ``√(Σ_k Var p_k / 2)``, so that it shows where one class is taken
            for another.
    """

    labels: Labels
    mean: Array
    sd: Array

    @classmethod
    def of_probabilities(cls, probabilities: Array) -> Block:
        """Make the block of samples (N, K, H, W)."""
        p = np.asarray(probabilities)
        return cls(p.argmax(axis=1), mean=1 - p[:, 0].mean(axis=0), sd=spread(p.std(axis=0)))

    @classmethod
    def of_annotations(cls, masks: Labels) -> Block:
        """Make the block of annotations (A, H, W): mean and spread over the annotators."""
        labels = np.asanyarray(masks)
        classes = np.arange(int(np.ma.filled(labels, 0).max()) + 1)
        of_classes = (labels == classes[:, None, None, None]).std(axis=1)
        mean, sd = (labels > 0).mean(axis=0), spread(of_classes)
        return cls(labels, np.ma.filled(mean, np.nan), np.ma.filled(sd, np.nan))


def hide_ignored(masks: Labels, ignore_index: int | None) -> Labels:
    """Return annotations, masked where they are ``ignore_index``: there nobody labelled."""
    return masks if ignore_index is None else np.ma.masked_equal(masks, ignore_index)


def spread(deviations: Array) -> Array:
    """Return one standard deviation (H, W) of those of the classes (K, H, W), see :class:`Block`.

    >>> spread(np.array([[[0.5]], [[0.5]]])).item()
    0.5
    """
    together: Array = np.sqrt(np.square(deviations).sum(axis=0) / 2)
    return together


def largest_spread(classes: int) -> float:
    """Return the largest :func:`spread` of certain samples: all classes are equally frequent.

    >>> largest_spread(2)
    0.5
    """
    return float(np.sqrt((1 - 1 / classes) / 2))


def count_classes(labels: Iterable[Labels]) -> int:
    """Return how many classes there are in label maps, at least two."""
    return max((int(np.ma.filled(one, 0).max(initial=1)) + 1 for one in labels), default=2)
