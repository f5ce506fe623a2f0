"""The pixels of an image that matter to masks: those around everybody's foreground."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.metrics.checks import Labels, check_range

Box = tuple[slice, slice]  # rows, columns
Maps = NDArray[np.integer[Any]]  # (M, …), the label maps of one image
Words = NDArray[np.unsignedinteger[Any]]  # up to eight bytes of label maps read as one number
_WORD = 8


def gathered(*sets: Labels) -> Iterator[Maps]:
    """Yield each image's label maps, of all sets in order, at all pixels of somebody's foreground.

    Pixels of the same words come along. What is left out is background in every map, so that no
    intersection or size depends on it. An image's maps are read once, while they are in the cache.

    Returns:
        (M, P) an image; P differs.

    Raises:
        InputError: A set holds a class that there is not.
    """
    for image in zip(*map(_words, sets), strict=True):
        (places,) = (_seen(image) != 0).nonzero()
        words = np.concatenate([maps.take(places, axis=1) for maps in image])
        yield _checked(words.view(sets[0].maps.dtype), sets)


def crops(*sets: Labels) -> Iterator[Maps]:
    """Yield each image's label maps, of all sets in order, in the box around the foreground.

    The margin is background in every map, so that no distance depends on it.

    Returns:
        (M, h, w) an image; h and w differ.

    Raises:
        InputError: A set holds a class that there is not.
    """
    kind, shape = sets[0].maps.dtype, sets[0].maps.shape[2:]
    for image in zip(*map(_words, sets), strict=True):
        box = around(_seen(image).view(kind).reshape(shape))
        maps = [words.view(kind).reshape(-1, *shape)[:, *box] for words in image]
        yield _checked(np.concatenate(maps), sets)


def around(labels: NDArray[np.integer[Any]]) -> Box:
    """Return the smallest box around the foreground of (H, W), of one pixel at least."""
    seen = labels > 0
    return _span(np.any(seen, axis=1)), _span(np.any(seen, axis=0))


def _span(lines: NDArray[np.bool_]) -> slice:
    (where,) = lines.nonzero()
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 1)


def _words(labels: Labels) -> Words:
    maps = labels.maps.reshape(*labels.maps.shape[:2], -1)
    size = math.gcd(_WORD, maps[0, 0].nbytes)
    words: Words = maps.view(f"u{size}")
    return words


def _seen(image: Sequence[Words]) -> Words:
    """Return the bits that are set in any of an image's maps."""
    return reduce(np.bitwise_or, (np.bitwise_or.reduce(maps) for maps in image))


def _checked(maps: Maps, sets: Sequence[Labels]) -> Maps:
    if maps.max(initial=0) >= sets[0].classes:
        for labels in sets:
            check_range(labels.name, labels.maps.min(), labels.maps.max(), labels.classes)
    return maps
