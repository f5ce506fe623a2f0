"""The cross-entropy of a segmentation, on one of two scales."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from probseg.errors import OptionError
from probseg.options import check_choice, check_number
from probseg.utils.tensors import IGNORED, in_single_precision

REDUCTIONS = ("pixel-sum", "pixel-mean")


class CrossEntropy:
    """The cross-entropy of logits and labels, averaged over the batch.

    Pixels that nobody labelled count for nothing: a sum, or an image's mean, is over the others.

    Args:
        reduction: Over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.
        top_k: The share of an image's labelled pixels that count, in (0, 1]: a random draw without
            replacement in which a pixel's chance is its cross-entropy, so that the hard ones are
            drawn (Kohl et al., 2019, use .02). None counts all.

    Raises:
        OptionError: There is no such reduction or share.
    """

    def __init__(self, reduction: str, *, top_k: float | None = None) -> None:
        check_choice("reduction", reduction, REDUCTIONS)
        if top_k is not None and check_number("top_k", top_k) > 1:
            raise OptionError(f"top_k is a share of the pixels, at most 1, not {top_k}")
        self.reduction, self.top_k = reduction, top_k

    @property
    def draws(self) -> bool:
        """Whether a call draws random numbers."""
        return self.top_k is not None

    def pixels(self, height: int, width: int, labelled: Tensor | float = 1.0) -> Tensor | float:
        """Return how many pixels of an image the result adds up: the unit of its scale.

        ``labelled`` is the share of pixels that somebody labelled.
        """
        return 1 if self.reduction == "pixel-mean" else self._counted(height * width) * labelled

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar of logits (B, K, H, W) and a label (B, H, W), as `cross_entropies`."""
        counted = self._pixels(logits, label)
        if self.reduction == "pixel-mean":
            return counted.mean()  # of as many pixels of each image
        return counted.sum(1).mean()

    def of_images(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the number of each image, (B,), whose mean is the scalar."""
        counted = self._pixels(logits, label)
        return counted.mean(1) if self.reduction == "pixel-mean" else counted.sum(1)

    def _pixels(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return what counts of each image's pixels, (B, P); the mean is over labelled ones."""
        per_pixel = cross_entropies(logits, label)
        if self.top_k is not None:
            return self._hard_pixels(per_pixel.flatten(1), _labelled(label).flatten(1))
        if self.reduction == "pixel-mean":
            share = _labelled(label).float().mean((1, 2), keepdim=True)
            per_pixel = per_pixel / torch.where(share > 0, share, 1)
        return per_pixel.flatten(1)

    def _hard_pixels(self, per_pixel: Tensor, labelled: Tensor) -> Tensor:
        """Return a draw (B, k) of pixels (B, P), zero beyond the share of an image's labelled ones.

        Its mean over k is that over the ones that count.
        """
        assert self.top_k is not None
        most = self._counted(per_pixel.shape[1])
        count = (self.top_k * labelled.sum(1, keepdim=True)).ceil().clamp(1, most)
        ranks = torch.arange(most, device=per_pixel.device)
        hard = torch.where(ranks < count, _hardest(per_pixel, most), 0)
        return hard * (most / count) if self.reduction == "pixel-mean" else hard

    def _counted(self, pixels: int) -> int:
        return pixels if self.top_k is None else math.ceil(self.top_k * pixels)


def _hardest(values: Tensor, count: int) -> Tensor:
    """Return values (B, count) drawn from (B, P), each with a chance proportional to itself.

    They stand in the order of the draw, so that the first of them are a smaller draw.
    """
    with torch.no_grad():  # the largest of log x + Gumbel noise are such a draw
        gumbel = -torch.empty_like(values).exponential_().log()
        chosen = (values.log() + gumbel).topk(count, dim=1).indices
    return values.gather(1, chosen)


def cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, in at least single precision.

    Where the label is ``IGNORED`` (-100), the result is zero; where it is another value that is no
    class, NaN: torch's own function asserts on a GPU, which the process can then use no more. Of a
    soft label it is the expected cross-entropy, ``−Σ_k p_k log π_k``.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) classes, int64; or soft, (B, K, H, W) probabilities, zero where ignored.

    Returns:
        (B, H, W), nats.
    """
    logits = in_single_precision(logits)
    if label.is_floating_point():
        return functional.cross_entropy(logits, label.to(logits.dtype), reduction="none")
    valid = label.clamp(0, logits.shape[1] - 1)
    per_pixel = functional.cross_entropy(logits, valid, reduction="none")
    others = torch.where(label == IGNORED, torch.zeros_like(per_pixel), torch.nan)
    return torch.where(valid == label, per_pixel, others)


def _labelled(label: Tensor) -> Tensor:
    """Return where somebody labelled, (B, H, W) bool."""
    return label.any(1) if label.is_floating_point() else label != IGNORED
