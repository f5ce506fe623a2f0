"""Checks of what users pass to models: images, labels and latents."""

from __future__ import annotations

import math
import warnings
from numbers import Integral

import torch
from torch import Tensor

from probseg.errors import InputError
from probseg.utils.tensors import IGNORED, extremes

_ROUNDING = 2**-7  # of probabilities in bfloat16
_SOFT_HINT = "; to learn p as a soft label, give torch.stack([1 - p, p], dim=1)"
_ONE_OF_THEM = (
    "give one annotation of each image, such as label[:, i] or "
    "probseg.datasets.annotators.choose_annotator(label)"
)
_OF_ANNOTATORS = f"; if they are annotators, {_ONE_OF_THEM}"
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
    check_tensor(image, "the image")
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
    check_not_empty(image, "the image")
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
    check_tensor(label, "the label")
    shape = (image.shape[0], *image.shape[2:])
    of_classes = (image.shape[0], classes, *image.shape[2:])
    if soft and label.is_floating_point() and label.shape == of_classes:
        return _checked_probabilities(label, image, ignore_index, values=values)
    if label.shape != shape:
        raise InputError(
            f"the label must be (B, H, W) = {shape} like the image, "
            f"not {tuple(label.shape)}{_hint(label, classes)}"
        )
    check_classes(label, "the label", _SOFT_HINT * soft)
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


def checked_masks(
    masks: Tensor,
    image: Tensor,
    classes: int,
    *,
    values: bool,
    ignore_index: int | None = None,
) -> Tensor:
    """Check everybody's masks (B, A, H, W) as :func:`checked_label` does one's; return them.

    Raises:
        InputError: They are of another rank, size, type or device, or out of range.
    """
    size = (image.shape[0], *image.shape[2:])
    if not isinstance(masks, Tensor) or masks.ndim != 4 or (len(masks), *masks.shape[2:]) != size:
        shape = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        hint = "; one label is label[:, None]" if getattr(masks, "shape", ()) == size else ""
        raise InputError(
            f"this model learns from all annotators at once: give the masks (B, A, H, W) of "
            f"{len(image)} images of {size[1]} x {size[2]}, not {shape}{hint}"
        )
    check_not_empty(masks, "the set of masks")
    each = masks.flatten(0, 1)
    like = image[:1, :1, :1, :1].expand(len(each), 1, *size[1:])
    checked = checked_label(each, like, classes, values=values, ignore_index=ignore_index)
    return checked.view(masks.shape)


def _hint(label: Tensor, classes: int) -> str:
    """Return what to do with a label of another shape."""
    if label.ndim == 2:
        return "; add a batch axis with label[None]"
    if label.ndim != 4:
        return ""
    for axis, index, what in ((1, ":, 0", "channels"), (3, "..., 0", "last numbers")):
        if label.shape[axis] == classes:
            one_hot = f"; if its {what} are one-hot classes, turn them into one with label.argmax"
            return f"{one_hot}({axis}){_OF_ANNOTATORS * (axis == 1)}"
        if label.shape[axis] == 1:
            return f"; drop its channel axis with label[{index}]"
    return (
        f"; if these are {label.shape[1]} annotators, {_ONE_OF_THEM}; if these are one-hot "
        f"classes, build the model with classes={label.shape[1]} and give label.argmax(1)"
    )


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


def checked_latent(latent: Tensor, image: Tensor, length: int) -> Tensor:
    """Check that latents are (..., B, L), finite, and fit the image (B, C, H, W); return them.

    Raises:
        InputError: They are not, or lie on another device.
    """
    check_tensor(latent, "latents")
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


def check_tensor(tensor: object, name: str) -> None:
    """Check that something is a tensor.

    Raises:
        InputError: It is not, such as an array of NumPy.
    """
    if not isinstance(tensor, Tensor):
        raise InputError(
            f"{name} must be a torch.Tensor, not {type(tensor).__name__}; convert it, for example "
            "with torch.as_tensor"
        )


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


def check_classes(tensor: Tensor, name: str, soft: str = "") -> None:
    """Check that a tensor is of integers.

    Raises:
        InputError: It is not; ``soft`` is added to the message.
    """
    if tensor.is_floating_point() or tensor.is_complex():
        raise InputError(
            f"{name} must hold integer classes, not {tensor.dtype}; convert whole numbers with "
            f".long(), and probabilities with .argmax over their classes, or p > 0.5 of one{soft}"
        )


def check_not_empty(tensor: Tensor, name: str) -> None:
    """Check that a tensor has elements.

    Raises:
        InputError: It has none.
    """
    if tensor.numel() == 0:
        raise InputError(f"{name} must not be empty, but the shape is {tuple(tensor.shape)}")
