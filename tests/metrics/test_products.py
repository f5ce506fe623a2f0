"""What a device counts and sends, computed here: Numba's counts and the maps themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from probseg.metrics import pieces, products
from probseg.metrics.checks import check_labels
from probseg.metrics.overlap import Overlap
from probseg.metrics.packing import fetch

quick = settings(deadline=None)


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Label maps (B, M, P) in which foreground may be absent or everywhere."""
    shape = tuple(draw(st.integers(1, most)) for most in (4, 6, 70))
    classes = draw(st.sampled_from([2, 3, 5, 256, 257, 1000]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    some = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.1, 1.0]))
    maps = torch.randint(1, classes, shape, generator=generator) * some
    return maps.to(torch.uint8 if classes <= 256 else torch.int64), classes


def counted(maps: Tensor, classes: int) -> Tensor:
    """Return Numba's counts."""
    return torch.from_numpy(Overlap.of(check_labels("maps", maps[:, :, None], classes)).counts)


@quick
@given(label_maps().filter(lambda case: case[1] < 10), st.sampled_from([1, 7, 64, 1 << 24]))
def test_products_count_as_numba_does(case, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_PIXELS", at_once)
        found = products.products(*case)
    assert found.dtype == torch.int64 and torch.equal(found.double(), counted(*case))


def test_products_are_exact_under_autocast_and_where_float32_is_not():
    maps = torch.ones(1, 2, (1 << 24) + 5, dtype=torch.uint8)
    maps[0, 1, :2] = 0
    pixels = maps.shape[2]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = products.products(maps, 2)[0, 0].tolist()
    assert found == [[pixels, pixels - 2], [pixels - 2, pixels - 2]]


@quick
@given(label_maps())
def test_fetched_maps_are_the_maps(case):
    maps, classes = case
    found = fetch(maps, classes)
    assert found.flags.c_contiguous
    assert torch.equal(torch.from_numpy(found), maps)  # of their dtype, too


def test_a_mask_of_a_device_travels_as_a_bit_a_pixel(monkeypatch):
    sent, cpu = [], Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: (sent.append(tensor.nbytes), cpu(tensor))[1])
    fetch(torch.ones(3, 4, 80, dtype=torch.uint8), 2)
    fetch(torch.ones(3, 4, 80, dtype=torch.uint8), 5)
    assert sent == [3 * 4 * 10, 3 * 4 * 10 * 3]


def test_a_device_takes_more_at_once_than_the_cache_holds_but_not_all(monkeypatch):
    monkeypatch.setattr(pieces, "_CACHED", 100)
    monkeypatch.setattr(pieces, "_DEVICE", 300)
    images = torch.zeros(8, 10)  # 40 bytes each
    assert [len(one) for (one,) in pieces.pieces(images)] == [2, 2, 2, 2]
    assert [len(one) for (one,) in pieces.pieces(images.to("meta"))] == [7, 1]
