"""Masks, samples and annotations as metrics take them, and their checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsInt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.errors import InputError
from probseg.utils.devices import chunks, fetch_label_maps
from probseg.utils.model_inputs import (
    check_classes,
    check_device,
    check_not_empty,
    check_range,
    check_tensor,
    checked_ignore_index,
)
from probseg.utils.tensors import within

Pixels = NDArray[np.integer[Any]]  # label maps, pixels in one dimension


class LabelMaps(NamedTuple):
    """Label maps of several images, checked by :func:`check_label_maps`."""

    name: str
    maps: Tensor  # (B, N, H, W), contiguous; in bytes if all classes fit; 0 where ignored
    classes: int
    ignored: Tensor | None = None  # (B, N, H, W) bool, pixels that nobody labelled, if there are

    @property
    def device(self) -> torch.device:
        """The device of the maps. The classes of maps off the CPU are checked already."""
        return self.maps.device

    def pixels(self) -> Pixels:
        """Return the maps as (B, N, P), on the CPU."""
        maps = self.maps.flatten(2)
        return maps.numpy() if self.device.type == "cpu" else fetch_label_maps(maps, self.classes)


def check_label_maps(
    maps: Tensor, name: str, classes: int, ignore_index: int | None = None
) -> LabelMaps:
    """Check that ``maps`` are (B, N, H, W), not empty, and hold integer classes.

    The classes of bytes on the CPU are left to :func:`check_highest`, so that a reader of all
    pixels need not read them twice. Pixels of ``ignore_index`` are no class.

    Raises:
        InputError: They are not.
    """
    check_tensor(maps, name)
    if maps.ndim != 4:
        raise InputError(
            f"{name} must be (images, label maps, height, width), not {tuple(maps.shape)}; "
            "add the missing dimension with .unsqueeze"
        )
    check_classes(maps, name)
    check_not_empty(maps, name)
    if maps.dtype == torch.bool:
        maps = maps.view(torch.uint8)
    if maps.dtype != torch.uint8:
        maps = maps.long()
    ignored = _where_ignored(maps, ignore_index)
    if ignored is not None:
        _check_labelled(ignored, name)
        maps = maps.masked_fill(ignored, 0)
    if maps.dtype != torch.uint8 or maps.device.type != "cpu":
        low, high = torch.stack(maps.aminmax()).tolist()
        check_range(low, high, classes, name=name)
    maps = maps.to(torch.uint8 if classes <= 256 else torch.int64)
    return LabelMaps(name, maps.contiguous(), classes, ignored)


def _where_ignored(maps: Tensor, ignore_index: int | None) -> Tensor | None:
    """Return where label maps are to be ignored, or None where no pixel is."""
    if ignore_index is None:
        return None
    ignore_index = within(checked_ignore_index(ignore_index), maps.dtype)
    ignored = None if ignore_index is None else maps == ignore_index
    return ignored if ignored is not None and bool(ignored.any()) else None


def _check_labelled(ignored: Tensor, name: str) -> None:
    """Check that each label map has a pixel that somebody labelled, without which all agree."""
    empty = ignored.flatten(2).all(2).nonzero()
    if len(empty):
        image, number = empty[0].tolist()
        raise InputError(
            f"every pixel of map {number} of image {image} in {name} is to be ignored, so nothing "
            "can be compared with it; leave it out, as that of an annotator who was not there"
        )


def check_highest(sets: Sequence[LabelMaps], highest: SupportsInt) -> None:
    """Check the highest class in several sets of label maps.

    Raises:
        InputError: A set holds a value that is not a class.
    """
    if int(highest) >= sets[0].classes:
        for name, maps, classes, _ in sets:
            check_range(int(maps.min()), int(maps.max()), classes, name=name)


def check_label_pair(
    predictions: Tensor, annotations: Tensor, classes: int, ignore_index: int | None = None
) -> tuple[LabelMaps, LabelMaps]:
    """Check two sets of label maps to compare, (B, N, H, W) and (B, A, H, W).

    Pixels of ``ignore_index`` are ignored in the annotations; predictions have none.

    Raises:
        InputError: One is not a set of label maps, or they do not fit each other.
    """
    if classes < 2:
        raise InputError(f"classes must be 2 or more, the background included, not {classes}")
    check_tensor(predictions, "predictions")
    check_tensor(annotations, "annotations")
    check_device(predictions, annotations, "predictions", "annotations")
    checked = (
        check_label_maps(predictions, "predictions", classes),
        check_label_maps(annotations, "annotations", classes, ignore_index),
    )
    _check_fit(predictions, "predictions", annotations)
    return checked


def check_probabilities(
    probabilities: Tensor, annotations: Tensor, ignore_index: int | None = None
) -> LabelMaps:
    """Check probabilities (B, N, K, H, W) of samples against annotations (B, A, H, W).

    Returns:
        The annotations.

    Raises:
        InputError: They are not probabilities, or do not fit the annotations.
    """
    if probabilities.ndim != 5:
        raise InputError(
            "probabilities must be (images, samples, classes, height, width), not "
            f"{tuple(probabilities.shape)}; model.sample gives samples first, so .transpose(0, 1); "
            "label maps are integers (images, samples, height, width)"
        )
    check_not_empty(probabilities, "probabilities")
    check_device(probabilities, annotations, "probabilities", "annotations")
    _check_distributions(probabilities)
    if probabilities.shape[2] < 2:
        raise InputError(
            "probabilities must be of two classes or more, in dimension 2; give the "
            "background's as well: torch.stack([1 - p, p], dim=2)"
        )
    classes = probabilities.shape[2]
    checked = check_label_maps(annotations, "annotations", classes, ignore_index)
    check_highest([checked], checked.maps.max())
    _check_fit(probabilities[:, :, 0], "probabilities", annotations)
    return checked


def _check_distributions(probabilities: Tensor) -> None:
    if not probabilities.is_floating_point():
        raise InputError(
            f"probabilities must be floating point, not {probabilities.dtype}; turn label maps "
            "into probabilities with torch.nn.functional.one_hot, or give them to Evaluation as "
            "they are, without an axis of classes: integers (images, samples, height, width); "
            "convert one-hot masks with .float()"
        )
    sums = torch.stack([_extreme_sums(chunk) for (chunk,) in chunks(probabilities)])
    lowest, highest = torch.stack(sums.aminmax(dim=0)).tolist()  # the only wait for a device
    low, high, negative = lowest[0], highest[1], highest[2]
    if not (math.isfinite(low) and math.isfinite(high)):  # one NaN makes both NaN
        raise InputError(
            "probabilities must be finite, but some are NaN or infinity; look for the first such "
            "value in the model's outputs"
        )
    # bfloat16 has eight bits of precision: a sum of K rounded probabilities is off by about 2⁻⁸
    if negative or low < 0.98 or high > 1.02:
        raise InputError(
            "probabilities must be at least zero and sum to one over the classes (dimension 2); "
            "if these are logits, take .softmax(dim=2)"
        )


def _extreme_sums(probabilities: Tensor) -> Tensor:
    """Return the lowest and the highest sum over the classes, and whether a value is negative."""
    low, high = probabilities.sum(dim=2, dtype=torch.float32).aminmax()
    return torch.stack([low, high, (probabilities.amin() < 0).float()])


def _check_fit(tensor: Tensor, name: str, annotations: Tensor) -> None:
    if tensor.shape[0] != annotations.shape[0]:
        raise InputError(
            f"{name} must be of as many images as annotations, {annotations.shape[0]}, not "
            f"{tensor.shape[0]}; images come first in both (model.sample gives samples first: "
            ".transpose(0, 1))"
        )
    if tensor.shape[2:] != annotations.shape[2:]:
        raise InputError(
            f"{name} must be of the size of annotations, {tuple(annotations.shape[2:])} pixels, "
            f"not {tuple(tensor.shape[2:])}; resample one to the other's grid"
        )
