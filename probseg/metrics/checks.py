"""What the metrics ask of the tensors that they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsInt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics.packing import fetch
from probseg.metrics.pieces import pieces

Maps = NDArray[np.integer[Any]]


class Labels(NamedTuple):
    """Label maps that can be read."""

    name: str
    maps: Tensor  # (B, N, H, W), contiguous; in bytes if all classes fit
    classes: int

    @property
    def device(self) -> torch.device:
        """Where the maps are. On another device than the CPU their range was checked."""
        return self.maps.device

    def pixels(self) -> Maps:
        """Return the maps as (B, N, P), on the CPU."""
        maps = self.maps.flatten(2)
        return maps.numpy() if self.device.type == "cpu" else fetch(maps, self.classes)


def check_labels(name: str, labels: Tensor, classes: int) -> Labels:
    """Check that ``labels`` is (B, N, H, W), holds integer classes, and some.

    Of labels in bytes on the CPU the classes are left for :func:`check_highest`, so that whoever
    reads them need not read them twice.

    Raises:
        InputError: It is not.
    """
    if labels.ndim != 4:
        raise InputError(
            f"{name} must be (images, label maps, height, width); its shape is "
            f"{tuple(labels.shape)}: add the missing dimension with .unsqueeze"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(
            f"{name} must hold integer classes, but is {labels.dtype}; "
            "take .argmax over the classes of probabilities, or .long() of whole numbers"
        )
    if labels.numel() == 0:
        raise InputError(
            f"{name} holds nothing: its shape is {tuple(labels.shape)}; "
            "give at least one image, one label map and one pixel"
        )
    if labels.dtype == torch.bool:
        labels = labels.view(torch.uint8)
    if labels.dtype != torch.uint8:
        labels = labels.long()
    if labels.dtype != torch.uint8 or labels.device.type != "cpu":
        low, high = torch.stack(labels.aminmax()).tolist()
        check_range(name, low, high, classes)
    labels = labels.to(torch.uint8 if classes <= 256 else torch.int64)
    return Labels(name, labels.contiguous(), classes)


def check_range(name: str, low: SupportsInt, high: SupportsInt, classes: int) -> None:
    """Check the lowest and the highest class of label maps.

    Raises:
        InputError: One is no class.
    """
    for found in map(int, (low, high)):
        if not 0 <= found < classes:
            raise InputError(
                f"{name} holds the class {found}, but the {classes} classes are 0 to "
                f"{classes - 1}; map masks of 0 and 255 to class indices, or raise the classes"
            )


def check_highest(sets: Sequence[Labels], highest: int) -> None:
    """Check the highest class that was found in label maps.

    Raises:
        InputError: One holds a class that there is not.
    """
    if highest >= sets[0].classes:
        for labels in sets:
            check_range(labels.name, labels.maps.min(), labels.maps.max(), labels.classes)


def check_label_pair(
    predictions: Tensor, annotations: Tensor, classes: int
) -> tuple[Labels, Labels]:
    """Check two sets of label maps, (B, N, H, W) and (B, A, H, W), that are to be compared.

    Raises:
        InputError: One is no set of label maps, or they do not fit each other.
    """
    if classes < 2:
        raise InputError(f"there must be two classes or more, background first; got {classes}")
    _check_device("predictions", predictions, annotations)
    checked = (
        check_labels("predictions", predictions, classes),
        check_labels("annotations", annotations, classes),
    )
    _check_fit("predictions", predictions, annotations)
    return checked


def check_probabilities(probabilities: Tensor, annotations: Tensor) -> None:
    """Check probabilities (B, N, K, H, W) of samples against annotations (B, A, H, W).

    Raises:
        InputError: They are no probabilities, or do not fit the annotations.
    """
    if probabilities.ndim != 5:
        raise InputError(
            "probabilities must be (images, samples, classes, height, width); their shape is "
            f"{tuple(probabilities.shape)}: model.sample gives samples first, so .transpose(0, 1)"
        )
    if probabilities.numel() == 0:
        raise InputError(
            f"probabilities hold nothing: their shape is {tuple(probabilities.shape)}; "
            "draw at least one sample of one image"
        )
    _check_device("probabilities", probabilities, annotations)
    _check_distributions(probabilities)
    if probabilities.shape[2] < 2:
        raise InputError(
            "probabilities must have two classes or more in dimension 2; give the "
            "background's as well: torch.stack([1 - p, p], dim=2)"
        )
    checked = check_labels("annotations", annotations, probabilities.shape[2])
    check_range(checked.name, 0, checked.maps.max(), checked.classes)
    _check_fit("probabilities", probabilities[:, :, 0], annotations)


def check_evaluation(evaluation: Evaluation) -> None:
    """Check the tensors of an evaluation, and that they fit each other.

    Raises:
        InputError: They are not what :class:`~probseg.interfaces.Evaluation` says.
    """
    check_probabilities(evaluation.probabilities, evaluation.annotations)


def _check_distributions(probabilities: Tensor) -> None:
    if not probabilities.is_floating_point():
        raise InputError(
            f"probabilities must be floating point, but are {probabilities.dtype}; "
            "turn label maps into probabilities with torch.nn.functional.one_hot"
        )
    found = torch.stack([_sums(piece) for (piece,) in pieces(probabilities)]).aminmax(dim=0)
    (low, _, _), (_, high, negative) = torch.stack(found).tolist()  # waits for a device but once
    if not (math.isfinite(low) and math.isfinite(high)):  # one NaN makes both NaN
        raise InputError("probabilities hold NaN or infinity; look for it in the model's outputs")
    # bfloat16 keeps eight bits: a sum of K rounded probabilities is off by some 2⁻⁸
    if negative or low < 0.98 or high > 1.02:
        raise InputError(
            "probabilities must be at least zero and sum to one over the classes (dimension 2); "
            "if these are logits, take .softmax(dim=2)"
        )


def _sums(probabilities: Tensor) -> Tensor:
    """Return the lowest and the highest sum over the classes, and whether anything is negative."""
    low, high = probabilities.sum(dim=2, dtype=torch.float32).aminmax()
    return torch.stack([low, high, (probabilities.amin() < 0).float()])


def _check_fit(name: str, left: Tensor, annotations: Tensor) -> None:
    if left.shape[0] != annotations.shape[0]:
        raise InputError(
            f"{name} are of {left.shape[0]} images, annotations of {annotations.shape[0]}; images "
            "come first in both (model.sample gives samples first: .transpose(0, 1))"
        )
    if left.shape[2:] != annotations.shape[2:]:
        raise InputError(
            f"{name} are {tuple(left.shape[2:])} pixels, annotations "
            f"{tuple(annotations.shape[2:])}; resample one to the other's grid"
        )


def _check_device(name: str, left: Tensor, annotations: Tensor) -> None:
    if left.device != annotations.device:
        raise InputError(
            f"{name} lie on {left.device}, annotations on {annotations.device}; move one with .to"
        )
