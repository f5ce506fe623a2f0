"""The labels of a batch of images, one of each image or those of all annotators."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probseg.utils.tensors import IGNORED


class Annotations(NamedTuple):
    """Labels as a batch: one of each image, or those of one annotator after the other.

    An image that an annotator did not label shows another one's label in that place, so that
    statistics of a batch are of labels that somebody drew; there it weighs nothing.
    """

    label: Tensor
    """(B, H, W), or (A * B, H, W) of all annotators; soft labels (B, K, H, W)."""
    present: Tensor | None = None
    """(A, B) bool, who labelled which image; None of one label each."""

    @classmethod
    def of_all(cls, masks: Tensor) -> Annotations:
        """Return those of masks (B, A, H, W), which are ``IGNORED`` where nobody labelled.

        An image that no annotator labelled counts as labelled by all, as one label counts whose
        pixels are all ignored: its cross-entropy is zero, and its penalties are not.
        """
        present = (masks != IGNORED).flatten(2).any(2)
        first = present.byte().argmax(1, keepdim=True)
        places = torch.arange(masks.shape[1], device=masks.device).expand_as(present)
        shown = torch.where(present, places, first)
        label = masks.gather(1, shown[..., None, None].expand_as(masks))
        present = present | ~present.any(1, keepdim=True)
        return cls(label.transpose(0, 1).flatten(0, 1), present.T)

    @property
    def shape(self) -> tuple[int, ...]:
        """(B,) of one label each, or (A, B)."""
        return (len(self.label),) if self.present is None else tuple(self.present.shape)

    def average(self, values: Tensor) -> Tensor:
        """Return the mean over images of one number a label, (B,) or (A * B,).

        Of several annotators it is the mean over images of the mean over those present, so that
        each image has the same weight.
        """
        if self.present is None:
            return values.mean()
        weights = self.present / self.present.sum(0)
        return (values.view(self.shape) * weights).sum(0).mean()
