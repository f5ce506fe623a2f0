"""How many pixels any two label maps of an image share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Maps
from probseg.metrics.compiled import compiled

Bits = NDArray[np.uint8]  # a mask, eight pixels a byte
Words = NDArray[np.uint64]  # the same


@compiled
def intersections(left: Maps, right: Maps, classes: int) -> tuple[NDArray[np.float64], int]:
    """Count the pixels of each class that any two label maps of the same image share.

    Each map of each class becomes a bit a pixel; then 64 pixels of two maps are compared at once.

    Args:
        left: (B, N, P), of any unsigned integers.
        right: (B, A, P), of the same dtype.
        classes: K, background, 0, included.

    Returns:
        (B, K - 1, N + A, N + A) for the foreground's classes, where a map's size is on the
        diagonal; and the highest label.
    """
    images, samples, pixels = left.shape
    count = samples + right.shape[1]
    masks = np.empty((count, -(-pixels // 64) * 8), np.uint8)
    shared = np.empty((images, classes - 1, count, count))
    labels = np.arange(classes).astype(left.dtype)
    highest = 0
    for image in range(images):
        for k in range(1, classes):
            for m in range(count):
                maps = left[image, m] if m < samples else right[image, m - samples]
                highest = max(highest, _highest(maps))
                _pack(maps, labels[k], masks[m])
            _count(masks.view(np.uint64), shared[image, k - 1])
    return shared, highest


@compiled
def _highest(labels: Maps) -> int:
    highest = labels[0]
    for label in labels:
        highest = max(highest, label)
    return int(highest)


@compiled
def _count(masks: Words, shared: NDArray[np.float64]) -> None:
    """Write how many bits any two of the masks (M, P / 64) share, (M, M)."""
    for i in range(len(masks)):
        for j in range(i + 1):
            shared[i, j] = shared[j, i] = _common(masks[i], masks[j])


@compiled
def _pack(labels: Maps, label: int, mask: Bits) -> None:
    """Write where a label map (P,) has the label, an eighth of the pixels after another."""
    mask[:] = 0
    size = len(mask)
    for eighth in range(8):
        part = labels[eighth * size : (eighth + 1) * size]
        for p in range(len(part)):
            mask[p] |= np.uint8(part[p] == label) << np.uint8(eighth)


@compiled
def _common(left: Words, right: Words) -> int:
    """Return how many bits are set in both.

    References:
        Warren, Hacker's Delight, 2002, section 5-1, which compilers know as one instruction.
    """
    total = np.uint64(0)
    for w in range(len(left)):
        both = left[w] & right[w]
        both -= (both >> np.uint64(1)) & np.uint64(0x5555555555555555)
        pairs = np.uint64(0x3333333333333333)
        both = (both & pairs) + ((both >> np.uint64(2)) & pairs)
        both = (both + (both >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        total += (both * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return int(total)
