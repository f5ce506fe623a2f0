"""Checks of the images and labels that users pass to a model; padding, one-hot labels, copies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from probseg.errors import InputError


def checked_image(image: Tensor, channels: int, like: Tensor, *, values: bool) -> Tensor:
    """Check that an image is (B, C, H, W) and finite, and return it in the type of ``like``.

    Args:
        image: (B, C, H, W) floating.
        channels: C that the model was built for.
        like: A parameter of the model.
        values: Whether to look at the values of an image on an accelerator too, which waits for
            the device. On the CPU they are always looked at.

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
    if 0 in image.shape:
        raise InputError(f"the image is empty: its shape is {tuple(image.shape)}")
    if not image.is_floating_point():
        raise InputError(
            f"the image must be floating, not {image.dtype}; "
            "convert and scale it, for example image.float() / 255"
        )
    check_device(image, like, "image")
    image = image.to(like.dtype)  # first, for a narrower type makes infinities
    if (values or image.device.type == "cpu") and not _all_finite(image):
        count = int((~image.isfinite()).sum())
        raise InputError(
            f"the image has {count} values that are NaN or infinite in {image.dtype}; "
            "replace them, for example with torch.nan_to_num"
        )
    return image


def checked_label(label: Tensor, image: Tensor, classes: int, *, values: bool) -> Tensor:
    """Check that a label is (B, H, W) classes and fits the image, and return it as int64.

    Args:
        label: (B, H, W) integer classes.
        image: (B, C, H, W).
        classes: K that the model was built for.
        values: Whether to look at the values of a label on an accelerator too, which waits for
            the device. On the CPU they are always looked at.

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
    if label.is_floating_point() or label.is_complex():
        raise InputError(
            f"the label must be integer classes, not {label.dtype}; convert it with .long()"
        )
    check_device(label, image, "label")
    label = label.long()
    if values or label.device.type == "cpu":
        low, high = extremes(label).tolist()
        check_range(low, high, classes)
    return label


def check_device(tensor: Tensor, like: Tensor, name: str) -> None:
    """Check that a tensor lies where the model does.

    Raises:
        InputError: It does not; the message names both places.
    """
    if tensor.device != like.device:
        raise InputError(
            f"the {name} is on {tensor.device} and the model on {like.device}; "
            f"move it with .to({str(like.device)!r})"
        )


def check_range(low: float, high: float, classes: int, *, step: int | None = None) -> None:
    """Check the lowest and the highest value of a label; ``step`` is the training step, if any.

    Raises:
        InputError: One of them is no class.
    """
    if not (low >= 0 and high < classes):  # nor NaN
        at = "" if step is None else f" at step {step}"
        raise InputError(
            f"the label has values from {low} to {high}{at}, and the model has classes 0 to "
            f"{classes - 1}; map masks of {{0, 255}} to {{0, 1}}, or build with more classes"
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


def padded(tensor: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column of (B, C, H, W) until the stride divides H and W."""
    height, width = tensor.shape[-2:]
    below, right = -height % stride, -width % stride
    if not (below or right):
        return tensor
    return functional.pad(tensor, (0, right, 0, below), mode="replicate")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the host waits for the copy only where it must.

    A copy to a CUDA device has read the memory when the call returns. A copy back to the CPU could
    be read before it has arrived, and MPS may read memory that is freed by then
    (https://github.com/pytorch/pytorch/issues/83015).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


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


def _all_finite(image: Tensor) -> bool:
    # NaN and infinity both survive a sum of x * 0: one pass, without a mask of the image's size
    return bool((image * 0).sum() == 0)
