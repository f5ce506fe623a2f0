"""Every pixel of label maps counts once, in any dtype and memory layout, on the CPU and off it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from label_map_strategy import label_maps
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from torch import Tensor

from probseg.errors import InputError
from probseg.metrics import hausdorff, overlap
from probseg.metrics.ged import sample_diversity
from probseg.metrics.hausdorff import hausdorff_cost, highest_labels
from probseg.metrics.kernels import iou_cost
from probseg.metrics.label_maps import check_label_maps, check_label_pair
from probseg.metrics.overlap import Overlap, bounding_box, compiled

unhurried = settings(deadline=None)  # the first call compiles
KINDS = [torch.uint8, torch.bool, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64]


@st.composite
def pairs(draw):
    """Two sets of label maps, mostly background, each in a dtype of its own."""
    images, left, right = (draw(st.integers(1, 3)) for _ in range(3))
    height, width = (draw(st.integers(1, 40)) for _ in range(2))
    classes = draw(st.sampled_from([2, 3, 5]))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(2)]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.01, 0.3, 1.0]))

    def labels(count, kind):
        shape = images, count, height, width
        some = random.integers(1, 2 if kind == torch.bool else classes, shape)
        return torch.from_numpy(np.where(random.random(shape) < density, some, 0)).to(kind)

    return labels(left, kinds[0]), labels(right, kinds[1]), classes


@unhurried
@given(pairs())
def test_the_highest_label_of_a_pixel(pair):
    sets = check_label_pair(*pair)
    for left, right in zip(*(labels.pixels() for labels in sets), strict=True):
        assert (highest_labels(left, right) == np.concatenate([left, right]).max(0)).all()


@unhurried
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_bounding_box_holds_everything_and_no_line_more(height, width, seed):
    seen = np.random.default_rng(seed).random((height, width)) < 0.05
    top, bottom, start, end = bounding_box(seen)
    assert seen[top:bottom, start:end].sum() == seen.sum()
    if seen.any():
        inside = seen[top:bottom, start:end]
        assert inside[[0, -1]].any(1).all() and inside[:, [0, -1]].any(0).all()
    else:
        assert (top, bottom, start, end) == (0, 0, 0, 0)


@unhurried
@given(pairs())
def test_shared_pixels_are_counted_as_one_by_one(pair):
    left, right, classes = pair
    found = Overlap.of(*check_label_pair(left, right, classes)).counts
    maps = torch.cat([left.long(), right.long()], dim=1).numpy()
    for k in range(1, classes):
        for i in range(maps.shape[1]):
            for j in range(maps.shape[1]):
                both = (maps[:, i] == k) & (maps[:, j] == k)
                assert (found[:, k - 1, i, j] == both.sum((1, 2))).all()


@pytest.mark.parametrize("pixels", [1, 7, 8, 63, 64, 65, 511, 512, 513, 16_384, 70_001])
def test_every_pixel_counts_once(pixels):
    maps = torch.ones(1, 2, 1, pixels, dtype=torch.uint8)
    maps[0, 1, 0, -1] = 0
    found = Overlap.of(*check_label_pair(maps[:, :1], maps[:, 1:], 2)).counts[0, 0]
    assert (found == pixels - np.array([[0, 1], [1, 1]])).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != torch.bool])
@pytest.mark.parametrize("wrong", [2, 127, 128, 255, -1, -128])
@pytest.mark.parametrize("place", [0, 7, 62])
@pytest.mark.parametrize("who", [0, 1])
def test_one_wrong_pixel_is_named(kind, wrong, place, who):
    sets = [torch.zeros(2, count, 7, 9, dtype=torch.int64) for count in (2, 1)]
    sets[who][1, 0].view(-1)[place] = wrong
    sets[who] = sets[who].to(kind)
    name = ("predictions", "annotations")[who]
    low, high = sets[who].long().min(), sets[who].long().max()
    message = f"{name} must hold the classes 0 to 1, not values from {low} to {high};"
    for metric in (iou_cost, hausdorff_cost):
        with pytest.raises(InputError, match=message):
            metric(*sets)
    if who == 0:
        with pytest.raises(InputError, match=message.replace(name, "labels")):
            sample_diversity(sets[0])


def test_more_classes_than_a_byte_holds():
    maps = torch.tensor([[[[0, 255, 256, 511]], [[0, 255, 0, 511]]]])
    cost = iou_cost(maps, maps.to(torch.int16), classes=512)
    assert cost[0, 0, 1].item() == pytest.approx(1 / 511)
    with pytest.raises(
        InputError, match=r"predictions must hold .* 0 to 510, not values from 0 to 511"
    ):
        iou_cost(maps, maps, classes=511)


def test_any_memory_layout():
    maps = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (2, 3, 16, 24)))
    turned = maps.transpose(2, 3).contiguous().transpose(2, 3)
    strided = torch.stack([maps, 1 - maps], dim=-1)[..., 0]
    shifted = torch.zeros(maps.numel() + 3, dtype=torch.uint8)[3:].view_as(maps)
    shifted.copy_(maps)
    for other in (turned, strided, turned.byte(), strided.bool(), shifted):
        for cost in (iou_cost, hausdorff_cost):
            assert torch.equal(cost(other, maps), cost(maps, maps))


def counted(maps: Tensor, classes: int) -> Tensor:
    """Return Numba's counts."""
    return torch.from_numpy(Overlap.of(check_label_maps(maps[:, :, None], "maps", classes)).counts)


@unhurried
@given(label_maps().filter(lambda case: case[1] < 10), st.sampled_from([1, 7, 64, 1 << 24]))
def test_products_count_as_numba_does(case, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_PIXELS", at_once)
        found = overlap.products(*case)
    assert found.dtype == torch.int64 and torch.equal(found.double(), counted(*case))


def test_products_are_exact_under_autocast_and_where_float32_is_not():
    maps = torch.ones(1, 2, (1 << 24) + 5, dtype=torch.uint8)
    maps[0, 1, :2] = 0
    pixels = maps.shape[2]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = overlap.products(maps, 2)[0, 0].tolist()
    assert found == [[pixels, pixels - 2], [pixels - 2, pixels - 2]]


SOURCE = "def total(values):\n    s = 0\n    for v in values:\n        s += v\n    return s"


@pytest.mark.parametrize("kept", [True, False])
def test_with_and_without_a_place_for_the_machine_code(kept, tmp_path):
    found = {"__name__": "total"}  # as a module has
    file = tmp_path / "total.py"
    if kept:
        file.write_text(SOURCE)
    exec(compile(SOURCE, str(file) if kept else "<nowhere>", "exec"), found)
    total = compiled(found["total"])
    assert total(np.arange(5)) == 10 and total.signatures
    assert bool(list(tmp_path.rglob("*.nbc"))) == kept
    assert total.targetoptions["nogil"]  # so that threads can evaluate side by side


def test_a_full_disk_costs_the_cache_of_machine_code_only(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionCache, "save_overload", full)
    file = tmp_path / "total.py"
    file.write_text(f"{SOURCE}\n\n\ndef twice(values):\n    return 2 * total(values)\n")
    found = {"__name__": "total"}
    exec(compile(file.read_text(), str(file), "exec"), found)
    found["total"] = compiled(found["total"])
    twice = compiled(found["twice"])  # which compiles the other as well
    assert twice(np.arange(5)) == 20
    assert "No space left on device" in caplog.text and "NUMBA_CACHE_DIR" in caplog.text


@pytest.mark.parametrize("module", [hausdorff, overlap])
def test_machine_code_depends_on_one_file(module):
    """Numba does not see that a function in another file has changed, and keeps the old code."""
    dispatchers = [f for f in vars(module).values() if isinstance(f, Dispatcher)]
    functions = [f.py_func for f in dispatchers if f.__module__ == module.__name__]
    assert functions
    for function in functions:
        for name in function.__code__.co_names:
            called = function.__globals__.get(name)
            assert not isinstance(called, Dispatcher) or called.__module__ == module.__name__
