"""Whose annotation a model is trained on."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def choose_annotator(masks: Tensor, generator: Generator | None = None) -> Tensor:
    """Choose one annotator for each image, uniformly; an empty mask is a choice like any other.

    Args:
        masks: (B, A, H, W) classes.
        generator: Source of randomness, on any device.

    Returns:
        (B, H, W) classes of the same dtype.
    """
    count, annotators = masks.shape[:2]
    device = generator.device if generator is not None else masks.device
    chosen = torch.randint(annotators, (count,), generator=generator, device=device)
    return masks[torch.arange(count, device=masks.device), chosen.to(masks.device)]
