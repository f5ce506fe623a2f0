"""Operations on labels, masks and probabilities, and padding to any stride."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from probseg.errors import InputError

IGNORED = -100  # of labels within models, what torch's own losses leave out


def within(ignore_index: int | None, dtype: torch.dtype) -> int | None:
    """Return a value if an integer type has it: torch would compare others by their lowest bits."""
    if ignore_index is None or dtype.is_floating_point or dtype == torch.bool:
        return ignore_index
    kind = torch.iinfo(dtype)
    return ignore_index if kind.min <= ignore_index <= kind.max else None


def ignoring(ignore_index: int | None) -> dict[str, int]:
    """Return the option ``ignore_index``, for functions that need not take it if there is none."""
    return {} if ignore_index is None else {"ignore_index": ignore_index}


def as_classes(masks: Tensor) -> Tensor:
    """Return soft masks as the nearest classes, uint8, a half as the lower; others as they are.

    >>> as_classes(torch.tensor([0.2, 0.5, 0.7, 1.0, 255.0])).tolist()
    [0, 0, 1, 1, 255]

    Raises:
        InputError: They hold NaN, of which no class is the nearest.
    """
    if not masks.is_floating_point():
        return masks
    if bool(masks.isnan().any()):
        raise InputError(
            "masks hold NaN, which is no class; if nobody labelled these pixels, give them 255 and "
            "ignore_index=255"
        )
    return (masks - 0.5).ceil().to(torch.uint8)


def has_fractions(masks: Tensor) -> bool:
    """Return whether masks hold a value that is no whole number, such as NaN."""
    return masks.is_floating_point() and bool((masks % 1 != 0).any())


def soft_label(foreground: Tensor, ignore_index: int | None = None) -> Tensor:
    """Return a soft label (B, 2, H, W) of the probabilities (B, H, W) of the second class.

    Where these are ``ignore_index``, so are both.
    """
    label = torch.stack([1 - foreground, foreground], dim=1)
    if ignore_index is None:
        return label
    return label.masked_fill((foreground == ignore_index)[:, None], ignore_index)


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


def in_single_precision(tensor: Tensor) -> Tensor:
    """Return a floating tensor in float32, or as it is if it is more precise."""
    # torch 2.6 cannot read back an exported program that calls torch.promote_types
    return tensor.to(max(tensor.dtype, torch.float32, key=lambda kind: kind.itemsize))


def probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over classes (..., K, H, W) in at least single precision."""
    return in_single_precision(logits).softmax(dim=-3)
