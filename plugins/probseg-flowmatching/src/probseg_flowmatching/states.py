"""Segmentations as states of a flow: each class is coded as ±1."""

from __future__ import annotations

from torch import Tensor

from probseg.utils.tensors import one_hot


def coded(probabilities: Tensor) -> Tensor:
    """Return 2 p - 1."""
    return 2 * probabilities - 1


def coded_label(label: Tensor, classes: int) -> Tensor:
    """Return the state (B, K, H, W) of a label (B, H, W), 1 at its class and -1 at the others."""
    return coded(one_hot(label, classes).float())


def as_probabilities(state: Tensor) -> Tensor:
    """Return the probabilities that a state (B, K, H, W) codes; what is beyond ±1 is cut.

    The classes of a state whose probabilities would sum to one have a positive one among them.
    """
    shares = ((state + 1) / 2).clamp(0, 1)
    return shares / shares.sum(dim=1, keepdim=True)
