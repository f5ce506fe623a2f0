"""Rows without training: what an empty answer scores, and what the annotators themselves do.

A baseline turns the annotations (B, A, H, W) of some images into evaluations, over which every
metric is averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from probseg.errors import DataError
from probseg.interfaces import Evaluation

Baseline = Callable[[Tensor, int], Iterator[Evaluation]]


def always_empty(masks: Tensor, classes: int) -> Iterator[Evaluation]:
    """Yield one evaluation: a single prediction that is background everywhere."""
    yield Evaluation(one_hot(torch.zeros_like(masks[:, :1]), classes), masks)


def annotators(masks: Tensor, classes: int) -> Iterator[Evaluation]:
    """Yield each leave-one-out: the other annotators as samples, all of them as the reference.

    On the models' own scale this is a ceiling: such a "model" has seen all annotations but one.
    """
    for rest, _ in _leave_one_out(masks):
        yield Evaluation(one_hot(rest, classes), masks)


def one_annotator(masks: Tensor, classes: int) -> Iterator[Evaluation]:
    """Yield each leave-one-out: one annotator as the only sample, the others as the reference."""
    for rest, one in _leave_one_out(masks):
        yield Evaluation(one_hot(one, classes), rest)


def _leave_one_out(masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    count = masks.shape[1]
    if count < 2:
        raise DataError("leaving one annotator out needs two of them; this data set has one")
    for index in range(count):
        rest = [other for other in range(count) if other != index]
        yield masks[:, rest], masks[:, index : index + 1]


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Turn labels (B, N, H, W) into certain probabilities (B, N, K, H, W)."""
    return functional.one_hot(labels.long(), classes).movedim(-1, 2).float()


BASELINES: dict[str, Baseline] = {
    "always-empty": always_empty,
    "annotators": annotators,
    "one-annotator": one_annotator,
}
