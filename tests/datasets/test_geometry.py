"""Where pixels go, against loops over pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from probseg.datasets.geometry import crop_offset, fitting, middle, moved, placed

edges = st.integers(1, 40)
sizes = st.tuples(edges, edges)
offsets = st.tuples(st.integers(-9, 9), st.integers(-9, 9))


@given(native=sizes, size=sizes)
def test_padding_keeps_all_of_an_image_and_cropping_fills_the_frame(native: Any, size: Any) -> None:
    scales = [new / old for new, old in zip(size, native, strict=True)]
    for resize, scale in (("pad", min(scales)), ("crop", max(scales))):
        inner, frame, offset = placed(native, size, resize)
        assert frame == size and inner == tuple(max(1, round(edge * scale)) for edge in native)
        within = [i <= f if resize == "pad" else i >= f for i, f in zip(inner, size, strict=True)]
        assert all(within)
        for before, i, f in zip(offset, inner, size, strict=True):
            assert 0 <= (f - i - before) - before <= 1  # the middle, or half a pixel before it
    assert placed(native, size, "stretch") == (size, size, (0, 0))
    assert placed(native, size) == placed(native, None, "pad") == (native, native, (0, 0))


@given(size=sizes, frame=sizes, offset=offsets, fill=st.sampled_from([0, 255]))
def test_pixels_move_one_by_one(size: Any, frame: Any, offset: Any, fill: int) -> None:
    pixels = np.arange(np.prod(size)).reshape(1, *size) + 1000
    wanted = np.full((1, *frame), fill)
    for row, column in np.ndindex(*size):
        there = row + offset[0], column + offset[1]
        if 0 <= there[0] < frame[0] and 0 <= there[1] < frame[1]:
            wanted[0, *there] = pixels[0, row, column]
    assert_array_equal(moved(pixels, frame, offset, fill=fill), wanted)


@given(size=sizes, crop=sizes)
def test_the_middle_is_what_a_frame_of_its_size_holds(size: Any, crop: Any) -> None:
    pixels = np.arange(np.prod(size)).reshape(size)
    cut, found = fitting(crop, size), middle(pixels, crop)
    assert found.shape == cut == tuple(np.minimum(size, crop))
    top, left = crop_offset(size, cut)
    assert_array_equal(found, moved(pixels, cut, (-top, -left)))
    for whole, part, before in zip(size, cut, (top, left), strict=True):
        assert abs((whole - part - before) - before) <= 1


@pytest.mark.parametrize("crop", [None, (5, 7), (9, 9)])
def test_without_a_smaller_crop_all_is_left(crop: Any) -> None:
    pixels = np.arange(35).reshape(5, 7)
    assert_array_equal(middle(pixels, crop), pixels)
