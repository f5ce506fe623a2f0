"""How many pixels any two label maps of an image share, counted by compiled loops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, starmap
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from numba import njit
from numba.core.caching import FunctionCache
from numpy.typing import NDArray
from torch import Tensor

from probseg.metrics.label_maps import LabelMaps, Pixels, check_highest

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])
Counts = NDArray[np.float64]
Score = Callable[[Counts, Counts], Counts]  # intersections, sums of both sizes -> scores
BitMasks = NDArray[np.uint8]  # masks, eight pixels a byte
WordMasks = NDArray[np.uint64]  # the same bits, 64 pixels a word

# Float32 counts ones exactly so far, with TF32 as well: that rounds neither 0 nor 1. It is also
# how many pixels of masks are held at a time, 64 MiB.
_PIXELS = 1 << 24


def compiled(function: Function) -> Function:
    """Compile a function of arrays at its first call with arrays of each type.

    This takes seconds, once: the machine code is cached beside the file or in the user's cache
    folder, if either is writable; ``NUMBA_CACHE_DIR`` names another folder. The code is compiled
    again only when its own file changes, so a compiled function must not call one of another file.
    """
    dispatcher = njit(function, nogil=True)
    with suppress(RuntimeError):  # no writable folder
        # as njit(cache=True) does with Numba's own
        dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]  # Numba has no types
    return cast(Function, dispatcher)


class _Cache(FunctionCache):
    """Numba's cache of machine code, without which only compiling takes longer."""

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, unless the disk is full, say."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # nor has this
        except OSError as error:
            logger.warning(
                "compiled code cannot be kept (%s), so each process compiles it anew; name another "
                "folder with NUMBA_CACHE_DIR",
                error,
            )


@compiled
def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the smallest box around the true pixels of (H, W): top, bottom, left, right.

    Bottom and right are exclusive; all four are zero if no pixel is true.
    """
    height, width = mask.shape
    columns = np.zeros(width, np.bool_)
    top, bottom = height, 0
    for y in range(height):
        if mask[y].any():
            columns |= mask[y]
            top, bottom = min(top, y), y + 1
    inside = np.flatnonzero(columns)
    if len(inside) == 0:
        return 0, 0, 0, 0
    return top, bottom, inside[0], inside[-1] + 1


@dataclass(frozen=True)
class Overlap:
    """The intersections of all label maps of several sets."""

    counts: Counts  # (B, K - 1, M, M) pixels of a foreground class; a map's size on the diagonal
    slices: tuple[slice, ...]  # of each set among the M maps
    ignored: Counts | None = None  # (B, K - 1, M, M) pixels of a map's class that another ignores
    costs: dict[Score, Counts] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, *sets: LabelMaps) -> Self:
        """Count the pixels of each image that the maps of one set or two share.

        Pixels that one of two maps ignores are left out. Two maps of the first of two sets are
        compared where some map of the second ignores nothing.

        Raises:
            InputError: A set holds a value that is not a class.
        """
        ends = accumulate((one.maps.shape[1] for one in sets), initial=0)
        slices = tuple(starmap(slice, pairwise(ends)))
        if any(one.ignored is not None for one in sets):
            counts, ignored = _counts_with_ignored(sets)
            return cls(counts, slices, ignored)
        return cls(_counts(sets), slices)

    def cost(self, score: Score, left: int, right: int) -> Counts:
        """Return one minus the mean score over the foreground classes, (B, N, A).

        Args:
            score: Such as :func:`iou`.
            left: The index of the set of N maps.
            right: The index of the set of A maps.
        """
        if score not in self.costs:
            size = self.counts.diagonal(axis1=2, axis2=3)
            sizes = size[..., None] + size[..., None, :]
            if self.ignored is not None:
                sizes = sizes - self.ignored - self.ignored.swapaxes(2, 3)
            self.costs[score] = 1 - score(self.counts, sizes).mean(1)
        # a copy, which the caller may reshape or change
        return self.costs[score][:, self.slices[left], self.slices[right]].copy()


def iou(intersection: Counts, sizes: Counts) -> Counts:
    """Return the intersection over union, 1 where both are empty."""
    return _ratio(intersection, sizes - intersection)


def dice(intersection: Counts, sizes: Counts) -> Counts:
    """Return the Dice score, 1 where both are empty."""
    return _ratio(2 * intersection, sizes)


def _ratio(numerator: Counts, denominator: Counts) -> Counts:
    ratio: Counts = (numerator + (denominator == 0)) / np.maximum(denominator, 1)
    return ratio


def _counts(sets: Sequence[LabelMaps]) -> Counts:
    on_cpu = sets[0].device.type == "cpu"
    return _counts_on_cpu(sets) if on_cpu else _counts_on_device(sets)


def _counts_with_ignored(sets: Sequence[LabelMaps]) -> tuple[Counts, Counts]:
    """Return the counts, and how many pixels of each map's class each other map ignores."""
    for one in sets:
        check_highest([one], one.maps.max())
    classes, count = sets[0].classes, sum(one.maps.shape[1] for one in sets)
    ignored = [
        torch.zeros_like(one.maps, dtype=torch.bool) if one.ignored is None else one.ignored
        for one in sets
    ]
    hidden = torch.cat(ignored, dim=1)
    seen = [sets[0].maps.masked_fill(ignored[-1].all(1, keepdim=True), 0)]  # by one at least
    maps = torch.cat([*seen, *(one.maps for one in sets[1:])], dim=1)
    pairs = (torch.cat([maps == k, hidden], dim=1).byte() for k in range(1, classes))
    both = np.concatenate([_counts([LabelMaps("", pair, 2)]) for pair in pairs], axis=1)
    return both[..., :count, :count], both[..., :count, count:]


def _counts_on_cpu(sets: Sequence[LabelMaps]) -> Counts:
    left, *others = (one.pixels() for one in sets)
    (right,) = others or (left[:, :0],)
    counts, highest = intersections(left, right, sets[0].classes)
    check_highest(sets, highest)
    return counts


def _counts_on_device(sets: Sequence[LabelMaps]) -> Counts:
    maps = torch.cat([one.maps for one in sets], dim=1).flatten(2)
    counts: Counts = products(maps, sets[0].classes).cpu().numpy().astype(np.float64)
    return counts


def products(maps: Tensor, classes: int) -> Tensor:
    """Count by matrix products the pixels that any two label maps of an image share.

    Args:
        maps: (B, M, P), integers.
        classes: K, the background, 0, included.

    Returns:
        (B, K - 1, M, M) int64 for the foreground classes, on the device of the maps, as
        :func:`intersections` counts them on the CPU.
    """
    count, pixels = maps.shape[1:]
    width = max(1, min(pixels, _PIXELS // count))
    images = max(1, _PIXELS // (count * width))
    with torch.autocast(maps.device.type, enabled=False):  # which would multiply in half precision
        return torch.cat([_products(chunk, classes, width) for chunk in maps.split(images)])


def _products(maps: Tensor, classes: int, width: int) -> Tensor:
    """Return the counts of a few images, from ``width`` pixels at a time."""
    shared = maps.new_zeros(len(maps), classes - 1, *[maps.shape[1]] * 2, dtype=torch.int64)
    for chunk in maps.split(width, dim=2):
        for k in range(1, classes):
            mask = (chunk == k).float()
            shared[:, k - 1] += (mask @ mask.mT).long()
    return shared


@compiled
def intersections(left: Pixels, right: Pixels, classes: int) -> tuple[NDArray[np.float64], int]:
    """Count the pixels of each class that any two label maps of an image share.

    Each map of each class becomes one bit a pixel; then 64 pixels of two maps are compared at once.

    Args:
        left: (B, N, P), of any unsigned integers.
        right: (B, A, P), of the same dtype.
        classes: K, the background, 0, included.

    Returns:
        (B, K - 1, N + A, N + A) for the foreground classes, with the size of each map on the
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
def _highest(labels: Pixels) -> int:
    highest = labels[0]
    for label in labels:
        highest = max(highest, label)
    return int(highest)


@compiled
def _count(masks: WordMasks, shared: NDArray[np.float64]) -> None:
    """Write how many bits any two of the masks (M, P / 64) share, (M, M)."""
    for i in range(len(masks)):
        for j in range(i + 1):
            shared[i, j] = shared[j, i] = _common_bits(masks[i], masks[j])


@compiled
def _pack(labels: Pixels, label: int, mask: BitMasks) -> None:
    """Set the bits where a label map (P,) has the label, one eighth of the pixels per bit."""
    mask[:] = 0
    size = len(mask)
    for eighth in range(8):
        part = labels[eighth * size : (eighth + 1) * size]
        for p in range(len(part)):
            mask[p] |= np.uint8(part[p] == label) << np.uint8(eighth)


@compiled
def _common_bits(left: WordMasks, right: WordMasks) -> int:
    """Return how many bits are set in both.

    References:
        Warren, Hacker's Delight, 2002, section 5-1; compilers turn it into one instruction.
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
