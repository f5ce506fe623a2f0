"""What is read of label maps: everything that counts, whatever they are kept in."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probseg.errors import InputError
from probseg.metrics.checks import check_label_pair
from probseg.metrics.energy import sample_diversity
from probseg.metrics.foreground import around, crops, gathered
from probseg.metrics.hausdorff import hausdorff_cost
from probseg.metrics.kernels import iou_cost
from probseg.metrics.overlap import Overlap

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


@given(pairs())
def test_nothing_but_background_is_left_out(pair):
    left, right, classes = pair
    sets = check_label_pair(left, right, classes)
    whole = torch.cat([left.long(), right.long()], dim=1).numpy()
    for image, flat, box in zip(whole, gathered(*sets), crops(*sets), strict=True):
        for k in range(1, classes):
            count = (image == k).sum((1, 2))
            assert ((flat == k).sum(1) == count).all() and ((box == k).sum((1, 2)) == count).all()
        columns = set(map(bytes, image.reshape(len(image), -1).T.astype(np.uint8)))
        assert set(map(bytes, flat.T.astype(np.uint8))) <= columns
        rows, cols = around(image.max(0))
        assert (box == image[:, rows, cols]).all()


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


def test_more_foreground_than_one_block():
    maps = torch.from_numpy(np.random.default_rng(0).random((1, 3, 70, 90)) < 0.9)
    found = Overlap.of(*check_label_pair(maps[:, :2], maps[:, 2:], 2)).counts[0, 0]
    flat = maps[0].flatten(1).double()
    assert (found == (flat @ flat.T).numpy()).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != torch.bool])
@pytest.mark.parametrize("wrong", [2, 127, 128, 255, -1, -128])
@pytest.mark.parametrize("place", [0, 7, 62])
@pytest.mark.parametrize("who", [0, 1])
def test_one_wrong_pixel_is_named(kind, wrong, place, who):
    sets = [torch.zeros(2, count, 7, 9, dtype=torch.int64) for count in (2, 1)]
    sets[who][1, 0].view(-1)[place] = wrong
    sets[who] = sets[who].to(kind)
    held = int(sets[who].long().flatten()[sets[who].long().flatten().nonzero()].item())
    name = ("predictions", "annotations")[who]
    for metric in (iou_cost, hausdorff_cost):
        with pytest.raises(InputError, match=f"{name} holds the class {held},"):
            metric(*sets)
    if who == 0:
        with pytest.raises(InputError, match=f"labels holds the class {held},"):
            sample_diversity(sets[0])


def test_more_classes_than_a_byte_holds():
    maps = torch.tensor([[[[0, 255, 256, 511]], [[0, 255, 0, 511]]]])
    cost = iou_cost(maps, maps.to(torch.int16), classes=512)
    assert cost[0, 0, 1].item() == pytest.approx(1 / 511)
    with pytest.raises(InputError, match="predictions holds the class 511"):
        iou_cost(maps, maps, classes=511)


def test_any_memory_layout():
    maps = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (2, 3, 16, 24)))
    turned = maps.transpose(2, 3).contiguous().transpose(2, 3)
    strided = torch.stack([maps, 1 - maps], dim=-1)[..., 0]
    for other in (turned, strided, turned.byte(), strided.bool()):
        assert torch.equal(iou_cost(other, maps), iou_cost(maps, maps))
