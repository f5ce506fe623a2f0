"""Pairwise costs against loops over pixels, scipy and closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import directed_hausdorff
from torch import Tensor

from probseg.errors import OptionError
from probseg.metrics import kernels
from probseg.metrics.hausdorff import Hausdorff, hausdorff_cost
from probseg.metrics.kernels import cross_entropy_cost, dice_cost, iou_cost, surprisal

quick = settings(max_examples=40, deadline=None)


@st.composite
def label_pairs(draw: st.DrawFn, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Two sets of label maps of one image or two, in which classes are often absent."""
    images, samples, annotators = (draw(st.integers(1, n)) for n in (2, 4, 3))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.05, 0.5]))

    def labels(n: int) -> Tensor:
        size = (images, n, height, width)
        present = torch.rand(size, generator=generator) < density
        return torch.randint(1, classes, size, generator=generator) * present

    return labels(samples), labels(annotators)


def pixels(labels: Tensor, k: int) -> set[tuple[int, int]]:
    return {(r, c) for r, row in enumerate(labels.tolist()) for c, v in enumerate(row) if v == k}


def iou_by_hand(left: set, right: set) -> float:
    return 1 - len(left & right) / len(left | right) if left | right else 0.0


def dice_by_hand(left: set, right: set) -> float:
    return 1 - 2 * len(left & right) / (len(left) + len(right)) if left | right else 0.0


def hausdorff_by_hand(left: set, right: set, undefined: float) -> float:
    if not left and not right:
        return 0.0
    if not left or not right:
        return undefined
    u, v = np.array(sorted(left), float), np.array(sorted(right), float)
    return max(directed_hausdorff(u, v)[0], directed_hausdorff(v, u)[0])


def all_pairs(cost, left: Tensor, right: Tensor, classes: int) -> Tensor:
    shape = (left.shape[0], left.shape[1], right.shape[1])
    values = torch.empty(shape, dtype=torch.float64)
    for b, n, a in itertools.product(*map(range, shape)):
        costs = [cost(pixels(left[b, n], k), pixels(right[b, a], k)) for k in range(1, classes)]
        values[b, n, a] = sum(costs) / len(costs)
    return values


@quick
@given(label_pairs())
def test_iou_cost_equals_sets_of_pixels(pair):
    expected = all_pairs(iou_by_hand, *pair, classes=3)
    torch.testing.assert_close(iou_cost(*pair, classes=3), expected, rtol=0, atol=1e-15)


@quick
@given(label_pairs())
def test_dice_cost_equals_sets_of_pixels(pair):
    expected = all_pairs(dice_by_hand, *pair, classes=3)
    torch.testing.assert_close(dice_cost(*pair, classes=3), expected, rtol=0, atol=1e-15)


@quick
@given(label_pairs())
def test_hausdorff_equals_scipys_on_pixels(pair):
    diagonal = math.hypot(*pair[0].shape[2:])
    expected = all_pairs(lambda u, v: hausdorff_by_hand(u, v, diagonal), *pair, classes=3)
    cost = hausdorff_cost(*pair, classes=3)
    torch.testing.assert_close(cost, expected, rtol=0, atol=1e-12)


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0005, 0.01, 0.3, 0.9, 0.999]))
def test_hausdorff_equals_scipys_distance_transforms(seed, density):
    random = np.random.default_rng(seed)
    masks = random.random((5, *random.integers(20, 70, 2))) < density
    masks[:, 3, 5] = True  # none is empty
    away = [distance_transform_edt(~mask) for mask in masks]
    expected = [
        [max(away[a][masks[n]].max(), away[n][masks[a]].max()) for a in (3, 4)] for n in range(3)
    ]
    cost = hausdorff_cost(torch.from_numpy(masks[None, :3]), torch.from_numpy(masks[None, 3:]))
    torch.testing.assert_close(cost[0], torch.tensor(np.array(expected)), rtol=0, atol=1e-12)


@quick
@given(label_pairs(), st.booleans())
def test_costs_are_symmetric_and_zero_on_equal_maps(pair, binary):
    left, right = (p.clamp(max=1) for p in pair) if binary else pair
    for cost in (iou_cost, dice_cost, hausdorff_cost):
        there, back = cost(left, right, classes=3), cost(right, left, classes=3)
        torch.testing.assert_close(there, back.mT, rtol=0, atol=0)
        assert not cost(left, left, classes=3).diagonal(dim1=1, dim2=2).any()


@pytest.mark.parametrize("cost", [iou_cost, dice_cost, hausdorff_cost])
def test_costs_can_be_viewed_in_another_shape(cost):
    left, right = torch.ones(2, 3, 4, 4).long(), torch.ones(2, 2, 4, 4).long()
    assert cost(left, right).view(2, -1).shape == (2, 6)


def test_hausdorff_counts_interior_pixels_as_eq_16_does():
    # Between a filled square and its outline the centre is 3 pixels from any outline pixel;
    # libraries that compare surfaces say 0.
    square = torch.ones(1, 1, 7, 7, dtype=torch.long)
    outline = square.clone()
    outline[..., 1:-1, 1:-1] = 0
    assert hausdorff_cost(square, outline).item() == 3


def test_hausdorff_of_one_empty_mask_follows_the_option():
    empty, full = torch.zeros(1, 1, 3, 4, dtype=torch.long), torch.ones(1, 1, 3, 4).long()
    assert hausdorff_cost(empty, full).item() == 5  # the diagonal of a 3 by 4 image
    assert hausdorff_cost(full, empty, one_empty=7.5).item() == 7.5
    assert math.isnan(hausdorff_cost(empty, full, one_empty="nan").item())
    assert hausdorff_cost(empty, empty, one_empty="nan").item() == 0
    assert hausdorff_cost(full, full, one_empty="nan").item() == 0


@pytest.mark.parametrize("one_empty", ["diagnal", -1.0, math.nan])
def test_hausdorff_refuses_another_policy(one_empty):
    with pytest.raises(OptionError, match="'diagonal', 'nan' or a distance"):
        Hausdorff(one_empty)


def test_repeated_masks_share_a_distance_transform_and_keep_their_places():
    generator = torch.Generator().manual_seed(0)
    few = torch.randint(0, 2, (1, 3, 9, 9), generator=generator)
    order = torch.tensor([2, 0, 0, 1, 2])
    expected = hausdorff_cost(few, few)[:, order]
    torch.testing.assert_close(hausdorff_cost(few[:, order], few), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_costs_take_any_integers(dtype):
    left = torch.tensor([[[[1, 1, 0]], [[0, 0, 0]]]]).to(dtype)
    right = torch.tensor([[[[0, 1, 1]]]]).to(dtype)
    torch.testing.assert_close(iou_cost(left, right).flatten(), torch.tensor([2 / 3, 1]).double())
    torch.testing.assert_close(dice_cost(left, right).flatten(), torch.tensor([0.5, 1]).double())
    assert hausdorff_cost(left, right)[0, 0].item() == 1


def test_counts_stay_exact_under_bfloat16_autocast():
    # 40,001 of 40,804 pixels: eight bits of mantissa would round both
    left = torch.ones(1, 1, 202, 202, dtype=torch.long)
    right = left.clone()
    right.view(-1)[40001:] = 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        iou, dice = iou_cost(left, right), dice_cost(left, right)
    assert iou.item() == 1 - 40001 / 40804
    assert dice.item() == 1 - 2 * 40001 / (40001 + 40804)


def test_counts_stay_exact_beyond_float32():
    left = torch.ones(1, 1, 4097, 4097, dtype=torch.uint8)
    right = left.clone()
    right[..., 0, :2] = 0  # leaves an odd number, which float32 rounds
    assert iou_cost(left, right).item() == 1 - (4097**2 - 2) / 4097**2


def test_cross_entropy_equals_torch_on_every_pair():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 4, 6), generator=generator)
    cost = cross_entropy_cost(logits.softmax(2), labels)
    for b, n, a in itertools.product(range(2), range(5), range(4)):
        expected = torch.nn.functional.cross_entropy(logits[b, n, None], labels[b, a, None])
        torch.testing.assert_close(cost[b, n, a], expected)


def test_cross_entropy_of_certain_pixels_is_clamped():
    # two of three pixels right for certain, one wrong for certain
    labels = torch.tensor([[[[0, 1, 1]]]])
    certain = torch.tensor([[[[[1.0, 0, 1]], [[0.0, 1, 0]]]]])
    expected = pytest.approx(23 * math.log(2) / 3, rel=1e-15)  # float32 errs by 1e-8
    assert cross_entropy_cost(certain, labels).item() == expected
    clamped = cross_entropy_cost(certain, labels, epsilon=0.01).item()
    assert clamped == pytest.approx(-math.log(0.01) / 3)


def test_cross_entropy_stays_float64_under_autocast_and_from_half():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(1, 3, 2, 8, 8, generator=generator)
    probabilities = probabilities / probabilities.sum(2, keepdim=True)
    labels = torch.randint(0, 2, (1, 2, 8, 8), generator=generator)
    expected = cross_entropy_cost(probabilities, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(cross_entropy_cost(probabilities, labels), expected)
    half = cross_entropy_cost(probabilities.bfloat16(), labels)
    assert half.dtype == torch.float64
    torch.testing.assert_close(half, expected, rtol=0.02, atol=0)


def test_a_background_is_summed_in_float64():
    background = torch.rand(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    probabilities = torch.stack([background, 1 - background], 2)
    cost = cross_entropy_cost(probabilities, torch.zeros(1, 1, 200, 200, dtype=torch.long))
    wanted = math.fsum(-math.log(p) for p in background.double().flatten().tolist()) / 200**2
    assert cost.item() == pytest.approx(wanted, rel=1e-9)  # float32 errs by 1e-8 and more


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_surprisal_is_in_single_precision_at_least(dtype):
    p = torch.tensor([0.3, 0.9, 1.0, 0.0]).to(dtype)
    values = surprisal(p, epsilon=0.25)
    assert values.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    wanted = [-math.log2(max(one, 0.25)) for one in p.tolist()]
    assert values.tolist() == pytest.approx(wanted, rel=1e-6)


def test_no_surprisal_is_negative():
    assert surprisal(torch.tensor([1 + 1e-6, 1.02])).tolist() == [0, 0]


def test_cross_entropy_looks_inside_the_box_of_the_foreground_only():
    annotations = torch.zeros(2, 3, 7, 9, dtype=torch.long)
    annotations[0, 1, 2, 4] = annotations[1, 2, 4, 1] = 1
    assert kernels._foreground_box(annotations) == (..., slice(2, 5), slice(1, 5))
    # where looking would wait for a device
    assert kernels._foreground_box(annotations.to("meta")) == (...,)


@pytest.mark.parametrize("epsilon", [0, 1, -1e-3])
def test_cross_entropy_refuses_a_useless_clamp(epsilon):
    certain = torch.tensor([[[[[1.0]], [[0.0]]]]])
    with pytest.raises(OptionError, match="epsilon must lie between 0 and 1"):
        cross_entropy_cost(certain, torch.tensor([[[[1]]]]), epsilon=epsilon)


@pytest.mark.gpu
def test_costs_are_the_same_on_a_gpu():
    generator = torch.Generator().manual_seed(0)
    left = torch.randint(0, 3, (2, 5, 33, 40), generator=generator)
    right = torch.randint(0, 3, (2, 4, 33, 40), generator=generator)
    for cost in (iou_cost, dice_cost, hausdorff_cost):
        there = cost(left.cuda(), right.cuda(), classes=3)
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), cost(left, right, classes=3), rtol=0, atol=0)
