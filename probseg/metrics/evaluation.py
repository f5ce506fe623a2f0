"""Several metrics of one evaluation, with values that they share computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from probseg.interfaces import Evaluation, Metric
from probseg.metrics.label_maps import (
    LabelMaps,
    Pixels,
    check_highest,
    check_label_maps,
    check_label_pair,
    check_probabilities,
)
from probseg.registry import registry
from probseg.utils.devices import chunks
from probseg.utils.tensors import certain

Value = TypeVar("Value")


def compute_metrics(
    evaluation: Evaluation, metrics: Mapping[str, Metric] | Iterable[str]
) -> dict[str, Tensor]:
    """Score every image with every metric; pairwise costs that metrics share are computed once.

    Args:
        evaluation: Samples of a model and annotations of B images.
        metrics: Metrics by any name, or the registered names of metrics.

    Returns:
        Each metric's value per image, (B,) float64, under its name; on the evaluation's device, or
        on the CPU where that has no float64.

    Raises:
        InputError: The evaluation's tensors are not as its class describes them.
        UnknownNameError: No metric is registered under a name.

    >>> samples = torch.eye(2)[torch.tensor([[[[0, 1]], [[1, 1]]]])].movedim(-1, 2)
    >>> compute_metrics(Evaluation(samples, torch.tensor([[[[0, 1]]]])), ["w-iou", "diversity"])
    {'w-iou': tensor([0.2500], dtype=torch.float64),
     'diversity': tensor([0.2500], dtype=torch.float64)}
    """
    checked = SharedEvaluation.of(evaluation)
    if not isinstance(metrics, Mapping):
        metrics = {name: registry("metrics").create(name) for name in metrics}
    with torch.no_grad():
        return {name: metric(checked) for name, metric in metrics.items()}


@dataclass(frozen=True)
class SharedEvaluation(Evaluation):
    """A checked evaluation that caches values computed from it, for metrics to share."""

    values: dict[Callable[[Evaluation], Any], Any] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """Return the evaluation itself if it is shared already, or a shared copy.

        Raises:
            InputError: Its tensors are not as its class describes them.
        """
        if isinstance(evaluation, cls):
            return evaluation
        given = {one.name: getattr(evaluation, one.name) for one in fields(Evaluation)}
        samples, annotations = evaluation.probabilities, evaluation.annotations
        ignored = evaluation.ignore_index
        if samples.ndim == 4 and not samples.is_floating_point():
            maps, checked = check_label_pair(samples, annotations, evaluation.classes, ignored)
            for one in (maps, checked):
                check_highest([one], one.maps.max())
            samples = certain(maps.maps, evaluation.classes)
        else:
            checked = check_probabilities(samples, annotations, ignored)
        given |= {"probabilities": samples, "classes": samples.shape[2]}
        return cls(**given, values={checked_annotations: checked})

    @cached_property
    def labels(self) -> Tensor:
        """The most probable class of each sample's pixels, (B, N, H, W), in bytes if they fit."""
        return torch.cat([_most_probable(chunk) for (chunk,) in chunks(self.probabilities)])


def shared(evaluation: Evaluation, function: Callable[[Evaluation], Value]) -> Value:
    """Return ``function(evaluation)``, once for all metrics of one :func:`compute_metrics`.

    Functions that compare equal, as frozen dataclasses with equal options do, share a value.
    """
    checked = SharedEvaluation.of(evaluation)
    if function not in checked.values:
        checked.values[function] = function(checked)
    value: Value = checked.values[function]
    return value


class Maps(NamedTuple):
    """Samples and annotations, checked, and their pixels on the CPU."""

    sets: tuple[LabelMaps, LabelMaps]
    pixels: tuple[Pixels, Pixels]  # (B, N, P) and (B, A, P)

    @classmethod
    def of(cls, sets: tuple[LabelMaps, LabelMaps]) -> Self:
        """Copy the pixels to the CPU, from a device as bits."""
        return cls(sets, (sets[0].pixels(), sets[1].pixels()))


def label_maps(evaluation: Evaluation) -> Maps:
    """Return an evaluation's label maps and annotations, for metrics that compute on the CPU."""
    classes = evaluation.probabilities.shape[2]
    sets = check_label_pair(
        evaluation.labels, evaluation.annotations, classes, evaluation.ignore_index
    )
    return Maps.of(sets)


def checked_annotations(evaluation: Evaluation) -> LabelMaps:
    """Return an evaluation's annotations, checked, with the pixels that nobody labelled."""
    classes = evaluation.probabilities.shape[2]
    return check_label_maps(evaluation.annotations, "annotations", classes, evaluation.ignore_index)


def _most_probable(probabilities: Tensor) -> Tensor:
    if probabilities.shape[2] == 2:  # argmax takes a hundred times as long for two
        return (probabilities[:, :, 1] > probabilities[:, :, 0]).view(torch.uint8)
    labels = probabilities.max(dim=2).indices
    return labels.byte() if probabilities.shape[2] <= 256 else labels
