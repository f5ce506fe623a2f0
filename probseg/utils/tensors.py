"""Checks of the tensors that users pass to models and metrics, and padding to any stride."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsInt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from probseg.errors import InputError
from probseg.utils.devices import chunks, fetch_label_maps

Pixels = NDArray[np.integer[Any]]  # label maps, pixels in one dimension


def checked_image(image: Tensor, channels: int, like: Tensor, *, values: bool) -> Tensor:
    """Check that an image is (B, C, H, W) and finite, and return it in the type of ``like``.

    With ``values``, those of an image on an accelerator are looked at too, which waits for the
    device. On the CPU they always are.

    Raises:
        InputError: The image is of another rank, size, type or device, or not finite.
    """
    if not isinstance(image, Tensor):
        raise InputError(f"the image must be a torch.Tensor, not {type(image).__name__}")
    if image.ndim != 4:
        raise InputError(
            f"the image must be (B, C, H, W), not {tuple(image.shape)}; "
            "add a batch or channel axis with image[None]"
        )
    if image.shape[1] != channels:
        raise InputError(
            f"the image has {image.shape[1]} channels and the model takes {channels}; "
            f"build it with in_channels={image.shape[1]}"
        )
    _check_not_empty(image, "the image")
    if not image.is_floating_point():
        raise InputError(
            f"the image must be floating, not {image.dtype}; "
            "convert and scale it, for example image.float() / 255"
        )
    check_device(image, like, "the image")
    image = image.to(like.dtype)  # first, for a narrower type makes infinities
    if (values or image.device.type == "cpu") and not _all_finite(image):
        count = int((~image.isfinite()).sum())
        raise InputError(
            f"the image has {count} values that are NaN or infinite in {image.dtype}; "
            "replace them, for example with torch.nan_to_num"
        )
    return image


def _all_finite(image: Tensor) -> bool:
    # NaN and infinity both survive a sum of x * 0: one pass, without a mask of the image's size
    return bool((image * 0).sum() == 0)


def checked_label(label: Tensor, image: Tensor, classes: int, *, values: bool) -> Tensor:
    """Check that a label is (B, H, W) classes and fits the image (B, C, H, W); return it as int64.

    With ``values``, those of a label on an accelerator are looked at too, which waits for the
    device. On the CPU they always are.

    Raises:
        InputError: The label is of another rank, size, type or device, or out of range.
    """
    if not isinstance(label, Tensor):
        raise InputError(f"the label must be a torch.Tensor, not {type(label).__name__}")
    shape = (image.shape[0], *image.shape[2:])
    if label.shape != shape:
        raise InputError(
            f"the label must be (B, H, W) = {shape} like the image, "
            f"not {tuple(label.shape)}{_hint(label, classes)}"
        )
    _check_integer(label, "the label")
    check_device(label, image, "the label")
    label = label.long()
    if values or label.device.type == "cpu":
        low, high = extremes(label).tolist()
        check_range(low, high, classes)
    return label


def check_device(tensor: Tensor, like: Tensor, name: str, other: str = "the model") -> None:
    """Check that a tensor is on the device of another, such as the model's parameters.

    Raises:
        InputError: It is not; the message names both devices.
    """
    if tensor.device != like.device:
        raise InputError(
            f"{name} must be on the device of {other}, {like.device}, not on {tensor.device}; "
            f"move it with .to({str(like.device)!r})"
        )


def check_range(
    low: float, high: float, classes: int, *, name: str = "the label", step: int | None = None
) -> None:
    """Check the lowest and the highest class of a label, at a training step if one is given.

    Raises:
        InputError: One of them is not a class.
    """
    if not (low >= 0 and high < classes):  # nor NaN
        at = "" if step is None else f" at step {step}"
        raise InputError(
            f"{name} must hold the classes 0 to {classes - 1}, not values from {low} to {high}"
            f"{at}; map masks of {{0, 255}} to {{0, 1}}, or use more classes"
        )


def extremes(label: Tensor) -> Tensor:
    """Return the lowest and the highest value, (2,); without a wait for the device."""
    return torch.stack([label.min(), label.max()])  # MPS has no aminmax


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Return (B, K, H, W) bool of a label (B, H, W); all are False where it is no class.

    On a GPU, torch's own function asserts on a value out of range, and the process can then use
    the GPU no more.
    """
    indices = torch.arange(classes, device=label.device)
    return (label[..., None] == indices).movedim(-1, 1)


def certain(labels: Tensor, classes: int) -> Tensor:
    """Return probabilities of 0 and 1, (B, N, K, H, W) of label maps (B, N, H, W)."""
    indices = torch.arange(classes, device=labels.device)[:, None, None]
    return (labels[:, :, None] == indices).float()


def padded(tensor: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column of (B, C, H, W) until the stride divides H and W."""
    height, width = tensor.shape[-2:]
    below, right = -height % stride, -width % stride
    if not (below or right):
        return tensor
    return functional.pad(tensor, (0, right, 0, below), mode="replicate")


def cropped(tensor: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`padded`: keep the first H x W of the last two axes."""
    height, width = like.shape[-2:]
    return tensor[..., :height, :width]


def _hint(label: Tensor, classes: int) -> str:
    if label.ndim != 4:
        return ""
    if label.shape[1] == classes:
        return "; if its channels are one-hot classes, turn them into one with label.argmax(1)"
    return "; drop its channel axis with label[:, 0]"


def _check_integer(tensor: Tensor, name: str) -> None:
    if tensor.is_floating_point() or tensor.is_complex():
        raise InputError(
            f"{name} must hold integer classes, not {tensor.dtype}; convert whole numbers with "
            ".long(), and probabilities with .argmax over their classes"
        )


def _check_not_empty(tensor: Tensor, name: str) -> None:
    if tensor.numel() == 0:
        raise InputError(f"{name} must not be empty, but the shape is {tuple(tensor.shape)}")


# Masks, samples and annotations, as metrics take them


class LabelMaps(NamedTuple):
    """Label maps of several images, checked by :func:`check_label_maps`."""

    name: str
    maps: Tensor  # (B, N, H, W), contiguous; in bytes if all classes fit
    classes: int

    @property
    def device(self) -> torch.device:
        """The device of the maps. The classes of maps off the CPU are checked already."""
        return self.maps.device

    def pixels(self) -> Pixels:
        """Return the maps as (B, N, P), on the CPU."""
        maps = self.maps.flatten(2)
        return maps.numpy() if self.device.type == "cpu" else fetch_label_maps(maps, self.classes)


def check_label_maps(maps: Tensor, name: str, classes: int) -> LabelMaps:
    """Check that ``maps`` are (B, N, H, W), not empty, and hold integer classes.

    The classes of bytes on the CPU are left to :func:`check_highest`, so that a reader of all
    pixels need not read them twice.

    Raises:
        InputError: They are not.
    """
    if maps.ndim != 4:
        raise InputError(
            f"{name} must be (images, label maps, height, width), not {tuple(maps.shape)}; "
            "add the missing dimension with .unsqueeze"
        )
    _check_integer(maps, name)
    _check_not_empty(maps, name)
    if maps.dtype == torch.bool:
        maps = maps.view(torch.uint8)
    if maps.dtype != torch.uint8:
        maps = maps.long()
    if maps.dtype != torch.uint8 or maps.device.type != "cpu":
        low, high = torch.stack(maps.aminmax()).tolist()
        check_range(low, high, classes, name=name)
    maps = maps.to(torch.uint8 if classes <= 256 else torch.int64)
    return LabelMaps(name, maps.contiguous(), classes)


def check_highest(sets: Sequence[LabelMaps], highest: SupportsInt) -> None:
    """Check the highest class in several sets of label maps.

    Raises:
        InputError: A set holds a value that is not a class.
    """
    if int(highest) >= sets[0].classes:
        for name, maps, classes in sets:
            check_range(int(maps.min()), int(maps.max()), classes, name=name)


def check_label_pair(
    predictions: Tensor, annotations: Tensor, classes: int
) -> tuple[LabelMaps, LabelMaps]:
    """Check two sets of label maps to compare, (B, N, H, W) and (B, A, H, W).

    Raises:
        InputError: One is not a set of label maps, or they do not fit each other.
    """
    if classes < 2:
        raise InputError(f"classes must be 2 or more, the background included, not {classes}")
    check_device(predictions, annotations, "predictions", "annotations")
    checked = (
        check_label_maps(predictions, "predictions", classes),
        check_label_maps(annotations, "annotations", classes),
    )
    _check_fit(predictions, "predictions", annotations)
    return checked


def check_probabilities(probabilities: Tensor, annotations: Tensor) -> None:
    """Check probabilities (B, N, K, H, W) of samples against annotations (B, A, H, W).

    Raises:
        InputError: They are not probabilities, or do not fit the annotations.
    """
    if probabilities.ndim != 5:
        raise InputError(
            "probabilities must be (images, samples, classes, height, width), not "
            f"{tuple(probabilities.shape)}; model.sample gives samples first, so .transpose(0, 1); "
            "label maps are integers (images, samples, height, width)"
        )
    _check_not_empty(probabilities, "probabilities")
    check_device(probabilities, annotations, "probabilities", "annotations")
    _check_distributions(probabilities)
    if probabilities.shape[2] < 2:
        raise InputError(
            "probabilities must be of two classes or more, in dimension 2; give the "
            "background's as well: torch.stack([1 - p, p], dim=2)"
        )
    checked = check_label_maps(annotations, "annotations", probabilities.shape[2])
    check_highest([checked], checked.maps.max())
    _check_fit(probabilities[:, :, 0], "probabilities", annotations)


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


def in_single_precision(tensor: Tensor) -> Tensor:
    """Return a floating tensor in float32, or as it is if it is more precise."""
    # torch 2.6 cannot read back an exported program that calls torch.promote_types
    return tensor.to(max(tensor.dtype, torch.float32, key=lambda kind: kind.itemsize))


def probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over classes (..., K, H, W) in at least single precision."""
    return in_single_precision(logits).softmax(dim=-3)
