"""Checks of the tensors that users pass to models and metrics, and padding to any stride."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple, SupportsInt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from probseg.errors import InputError
from probseg.utils.devices import chunks, fetch_label_maps

Pixels = NDArray[np.integer[Any]]  # label maps, pixels in one dimension
IGNORED = -100  # of labels within models, what torch's own losses leave out
_ROUNDING = 2**-7  # of probabilities in bfloat16
_SOFT_HINT = "; to learn p as a soft label, give torch.stack([1 - p, p], dim=1)"

_LARGE = 10.0  # of a root mean square: standardised images have 1, 8-bit ones some 100


class ScaleWarning(UserWarning):
    """Images on a scale that networks do not start well on."""


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
            f"{_as_images(image, channels)}"
        )
    if image.shape[1] != channels:
        raise InputError(
            f"the image has {image.shape[1]} channels and the model takes {channels}; "
            f"{_other_channels(image, channels)}"
        )
    _check_not_empty(image, "the image")
    if not image.is_floating_point():
        raise InputError(
            f"the image must be floating, not {image.dtype}; "
            "convert and scale it, for example image.float() / 255"
        )
    check_device(image, like, "the image")
    image = image.to(like.dtype)  # first, for a narrower type makes infinities
    if values or image.device.type == "cpu":
        _check_values(image)
    return image


def _check_values(image: Tensor) -> None:
    """Check that an image is finite, and warn of a scale on which no network starts well."""
    norm = float(torch.linalg.vector_norm(image, dtype=_summable(image.dtype)))
    if not math.isfinite(norm) and (count := int((~image.isfinite()).sum())):
        raise InputError(
            f"the image has {count} values that are NaN or infinite in {image.dtype}; "
            "replace them, for example with torch.nan_to_num"
        )
    warn_of_scale(norm / math.sqrt(image.numel()))


def _summable(dtype: torch.dtype) -> torch.dtype:
    return max(dtype, torch.float32, key=lambda kind: kind.itemsize)


def warn_of_scale(magnitude: float, name: str = "the image") -> None:
    """Warn if the root mean square of images is far from that of intensities from 0 to 1."""
    if magnitude > _LARGE:
        about = 10 ** round(math.log10(min(magnitude, 1e38)))
        warnings.warn(
            f"{name} has values of about {about} (root mean square), "
            "and networks start well on values of about 1: scale them to [0, 1], for example "
            "image / 255 of 8 bits, unless the model was trained on this scale",
            ScaleWarning,
            stacklevel=2,
        )


def _as_images(image: Tensor, channels: int) -> str:
    """Return what to do with an image that has too few or too many axes."""
    if image.ndim == 2:
        return "add a batch and a channel axis with image[None, None]"
    if image.ndim == 3 and image.shape[0] == channels:
        return "add a batch axis with image[None]"
    if image.ndim == 3 and channels == 1:
        return (
            "if it is a volume (D, H, W), the model takes its slices, as images of a batch: "
            "image[:, None]; if it is a batch (B, H, W), the same adds the channel axis"
        )
    if image.ndim == 5 and image.shape[1] == channels:
        return (
            "it looks like a volume (B, C, D, H, W), and the model takes slices, as images of a "
            "batch: image.movedim(2, 1).flatten(0, 1)"
        )
    return f"give images of {channels} channel(s), and a volume slice by slice"


def _other_channels(image: Tensor, channels: int) -> str:
    """Return what to do with an image of another number of channels."""
    if image.shape[3] == channels:
        return "its channels come last: image.movedim(3, 1)"
    if channels == 1:
        return (
            "if these are the slices of a volume, give them as images of a batch: "
            "image.flatten(0, 1)[:, None]; if they are channels, build the model with "
            f"in_channels={image.shape[1]}"
        )
    return f"build it with in_channels={image.shape[1]}"


def checked_label(
    label: Tensor,
    image: Tensor,
    classes: int,
    *,
    values: bool,
    ignore_index: int | None = None,
    soft: bool = False,
) -> Tensor:
    """Check that a label is (B, H, W) classes and fits the image (B, C, H, W); return it as int64.

    With ``values``, those of a label on an accelerator are looked at too, which waits for the
    device. On the CPU they always are. Where the label is ``ignore_index``, the result is
    ``IGNORED``. With ``soft``, the label may also be floating probabilities (B, K, H, W) of the
    classes; the result is of the image's type, and zero where all of them are ``ignore_index``.

    Raises:
        InputError: The label is of another rank, size, type or device, or out of range.
    """
    if not isinstance(label, Tensor):
        raise InputError(f"the label must be a torch.Tensor, not {type(label).__name__}")
    shape = (image.shape[0], *image.shape[2:])
    of_classes = (image.shape[0], classes, *image.shape[2:])
    if soft and label.is_floating_point() and label.shape == of_classes:
        return _checked_probabilities(label, image, ignore_index, values=values)
    if label.shape != shape:
        raise InputError(
            f"the label must be (B, H, W) = {shape} like the image, "
            f"not {tuple(label.shape)}{_hint(label, classes)}"
        )
    _check_integer(label, "the label", _SOFT_HINT * soft)
    check_device(label, image, "the label")
    label = label.long()
    ignored = None if ignore_index is None else label == checked_ignore_index(ignore_index)
    if values or label.device.type == "cpu":
        labelled = label if ignored is None else label.masked_fill(ignored, 0)
        low, high = extremes(labelled).tolist()
        check_range(low, high, classes)
    else:  # a value that nobody has looked at must not pass for an ignored one
        label = label.clamp(min=-1)
    return label if ignored is None else label.masked_fill(ignored, IGNORED)


def within(ignore_index: int | None, dtype: torch.dtype) -> int | None:
    """Return a value if an integer type has it: torch would compare others by their lowest bits."""
    if ignore_index is None or dtype.is_floating_point or dtype == torch.bool:
        return ignore_index
    kind = torch.iinfo(dtype)
    return ignore_index if kind.min <= ignore_index <= kind.max else None


def ignoring(ignore_index: int | None) -> dict[str, int]:
    """Return the option ``ignore_index``, for functions that need not take it if there is none."""
    return {} if ignore_index is None else {"ignore_index": ignore_index}


def _checked_probabilities(
    label: Tensor, image: Tensor, ignore_index: int | None, *, values: bool
) -> Tensor:
    """Return a soft label (B, K, H, W); NaN where it is none and nobody may look."""
    check_device(label, image, "the label")
    valid = ((label.sum(1) - 1).abs() < _ROUNDING) & (label.amin(1) >= 0)
    if ignore_index is not None:
        ignored = (label == checked_ignore_index(ignore_index)).all(1)
        label, valid = label.masked_fill(ignored[:, None], 0), valid | ignored
    if (values or label.device.type == "cpu") and not bool(valid.all()):
        raise InputError(
            "a soft label (B, K, H, W) must hold probabilities that sum to one over its classes "
            f"(dimension 1), which it does not at {int((~valid).sum())} pixels; of p for the "
            "second of two classes, give torch.stack([1 - p, p], dim=1)"
        )
    return torch.where(valid[:, None], label, torch.nan).to(image.dtype)


def as_classes(masks: Tensor) -> Tensor:
    """Return soft masks as the nearest classes, uint8, a half as the lower; others as they are.

    >>> as_classes(torch.tensor([0.2, 0.5, 0.7, 1.0, 255.0])).tolist()
    [0, 0, 1, 1, 255]
    """
    return (masks - 0.5).ceil().to(torch.uint8) if masks.is_floating_point() else masks


def soft_label(foreground: Tensor, ignore_index: int | None = None) -> Tensor:
    """Return a soft label (B, 2, H, W) of the probabilities (B, H, W) of the second class.

    Where these are ``ignore_index``, so are both.
    """
    label = torch.stack([1 - foreground, foreground], dim=1)
    if ignore_index is None:
        return label
    return label.masked_fill((foreground == ignore_index)[:, None], ignore_index)


def checked_ignore_index(ignore_index: object) -> int:
    """Return the value of pixels to ignore, an integer.

    Raises:
        InputError: It is none.
    """
    if not isinstance(ignore_index, Integral) or isinstance(ignore_index, bool):
        raise InputError(
            f"ignore_index must be an integer, such as 255, or None, not {ignore_index!r}"
        )
    return int(ignore_index)


def checked_latent(latent: Tensor, image: Tensor, length: int) -> Tensor:
    """Check that latents are (..., B, L), finite, and fit the image (B, C, H, W); return them.

    Raises:
        InputError: They are not, or lie on another device.
    """
    if not isinstance(latent, Tensor):
        raise InputError(
            f"latents must be a torch.Tensor, not {type(latent).__name__}; convert them, for "
            "example with torch.as_tensor"
        )
    if latent.ndim < 2 or latent.shape[-2:] != (len(image), length):
        raise InputError(
            f"latents of these images must be (..., {len(image)}, {length}), "
            f"not {tuple(latent.shape)}"
        )
    if latent.is_complex():
        raise InputError(f"latents must be real numbers, not {latent.dtype}")
    check_device(latent, image, "the latent sample")
    if not bool(latent.isfinite().all()):
        count = int((~latent.isfinite()).sum())
        raise InputError(
            f"the latents hold {count} values that are NaN or infinite; find out where they come "
            "from, such as a density whose scale is not finite"
        )
    return latent if latent.is_floating_point() else latent.to(image.dtype)


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
    low: float,
    high: float,
    classes: int,
    *,
    name: str = "the label",
    step: int | None = None,
) -> None:
    """Check the lowest and the highest class of a label, at a training step if one is given.

    Raises:
        InputError: One of them is not a class.
    """
    if not (low >= 0 and high < classes):  # nor NaN
        at = "" if step is None else f" at step {step}"
        raise InputError(
            f"{name} must hold the classes 0 to {classes - 1}, not values from {low} to {high}"
            f"{at}; map masks of {{0, 255}} to {{0, 1}}, or use more classes; if nobody labelled "
            f"these pixels, leave them out with ignore_index={low if low < 0 else high}"
        )


def extremes(label: Tensor) -> Tensor:
    """Return the lowest and the highest value, (2,); without a wait for the device."""
    return torch.stack([label.min(), label.max()])  # MPS has no aminmax


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Return (B, K, H, W) bool of a label (B, H, W); all are False where it is no class.

    On a GPU, torch's own function asserts on a value out of range, and the process can then use
    the GPU no more. A soft label (B, K, H, W) is returned as it is.
    """
    if label.is_floating_point():
        return label
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
    """Return what to do with a label of another shape."""
    if label.ndim == 2:
        return "; add a batch axis with label[None]"
    if label.ndim != 4:
        return ""
    for axis, index, what in ((1, ":, 0", "channels"), (3, "..., 0", "last numbers")):
        if label.shape[axis] == classes:
            return (
                f"; if its {what} are one-hot classes, turn them into one with label.argmax({axis})"
            )
        if label.shape[axis] == 1:
            return f"; drop its channel axis with label[{index}]"
    return (
        f"; if these are {label.shape[1]} annotators, give one annotation of each image, such as "
        "label[:, i] or probseg.datasets.annotators.choose_annotator(label); if "
        f"these are one-hot classes, build the model with classes={label.shape[1]} and give "
        "label.argmax(1)"
    )


def _check_integer(tensor: Tensor, name: str, soft: str = "") -> None:
    if tensor.is_floating_point() or tensor.is_complex():
        raise InputError(
            f"{name} must hold integer classes, not {tensor.dtype}; convert whole numbers with "
            f".long(), and probabilities with .argmax over their classes, or p > 0.5 of one{soft}"
        )


def _check_not_empty(tensor: Tensor, name: str) -> None:
    if tensor.numel() == 0:
        raise InputError(f"{name} must not be empty, but the shape is {tuple(tensor.shape)}")


# Masks, samples and annotations, as metrics take them


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
    _check_not_empty(probabilities, "probabilities")
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


def in_single_precision(tensor: Tensor) -> Tensor:
    """Return a floating tensor in float32, or as it is if it is more precise."""
    # torch 2.6 cannot read back an exported program that calls torch.promote_types
    return tensor.to(max(tensor.dtype, torch.float32, key=lambda kind: kind.itemsize))


def probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over classes (..., K, H, W) in at least single precision."""
    return in_single_precision(logits).softmax(dim=-3)
