"""Distances of edges against MONAI, loops over pixels and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from partly_labelled import partly_labelled, prepared

from probseg.errors import InputError, OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.surface import SurfaceDistance, hd95_cost, surface_dice_cost

unhurried = settings(deadline=None, max_examples=20)


@st.composite
def two_masks(draw):
    """Two masks (H, W) that are not empty, and the spacing of their pixels."""
    height, width = (draw(st.integers(3, 14)) for _ in range(2))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = random.random((2, height, width)) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    masks[:, height // 2, width // 2] = True
    return masks, tuple(draw(st.sampled_from([0.5, 1.0, 2.5])) for _ in range(2))


def edge(mask):
    """Return the coordinates of the pixels with a neighbour that is not of the mask."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inner)


def distances(one, other, spacing):
    apart = (one[:, None] - other[None]) * np.asarray(spacing)
    return np.sqrt((apart**2).sum(-1)).min(1)


@unhurried
@given(two_masks())
def test_they_are_loops_over_the_pixels_of_the_edges(case):
    masks, spacing = case
    given_ = [torch.from_numpy(one.astype(np.uint8))[None, None] for one in masks]
    steps = torch.tensor([spacing])
    one, other = map(edge, masks)
    there, back = distances(one, other, spacing), distances(other, one, spacing)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hd95_cost(*given_, spacing=steps).item() == pytest.approx(hd95)
    near = ((there <= 1.5).sum() + (back <= 1.5).sum()) / (len(there) + len(back))
    found = surface_dice_cost(*given_, tolerance=1.5, spacing=steps).item()
    assert found == pytest.approx(1 - near)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
@unhurried
@given(two_masks())
def test_they_are_monais(case):
    metrics = pytest.importorskip("monai.metrics")
    masks, spacing = case
    one_hot = [torch.from_numpy(np.stack([~m, m]).astype(np.float32))[None] for m in masks]
    given_ = [torch.from_numpy(one.astype(np.uint8))[None, None] for one in masks]
    steps = torch.tensor([spacing])
    hd95 = metrics.compute_hausdorff_distance(
        *one_hot, include_background=False, percentile=95, spacing=[list(spacing)]
    )
    assert hd95_cost(*given_, spacing=steps).item() == pytest.approx(hd95.item(), abs=1e-5)
    nsd = metrics.compute_surface_dice(*one_hot, [1.5], spacing=[list(spacing)])
    found = surface_dice_cost(*given_, tolerance=1.5, spacing=steps).item()
    assert found == pytest.approx(1 - nsd.item(), abs=1e-5)


@unhurried
@given(partly_labelled())
def test_pixels_that_an_annotator_did_not_label_are_cut_away(case):
    probabilities, annotations, ignore, classes = case
    labels, drawn, _ = prepared(case)
    size = annotations.shape[2:]
    wanted = np.zeros((len(labels), labels.shape[1], drawn.shape[1]))
    for b, n, a in np.ndindex(wanted.shape):
        for k in range(1, classes):
            seen = drawn[b, a] >= 0
            one, other = edge((labels[b, n] == k) & seen), edge(drawn[b, a] == k)
            if len(one) and len(other):
                both = distances(one, other, (1, 1)), distances(other, one, (1, 1))
                wanted[b, n, a] += max(np.percentile(x, 95) for x in both)
            elif len(one) or len(other):
                wanted[b, n, a] += math.hypot(*size)
    found = hd95_cost(probabilities.argmax(2), annotations, classes=classes, ignore_index=ignore)
    np.testing.assert_allclose(found, wanted / (classes - 1), atol=1e-9)


def test_empty_masks():
    empty, full = torch.zeros(1, 1, 3, 4).byte(), torch.ones(1, 1, 3, 4).byte()
    assert hd95_cost(empty, empty).item() == surface_dice_cost(empty, empty).item() == 0
    assert hd95_cost(empty, full).item() == 5
    mm = {"spacing": torch.tensor([[2.0, 2.0]])}
    assert hd95_cost(empty, full, **mm).item() == 10
    assert surface_dice_cost(empty, full).item() == 1


def test_the_unit_is_the_images_own():
    one, other = torch.zeros(3, 1, 1, 9).byte(), torch.zeros(3, 1, 1, 9).byte()
    one[..., 0], other[..., 4] = 1, 1
    spacing = torch.tensor([[1.0, 0.5], [1.0, 2.0], [1.0, math.nan]])
    given_ = Evaluation(one, other, spacing=spacing)
    assert SurfaceDistance("hd95")(given_).tolist() == [4, 4, 4]
    values = SurfaceDistance("hd95", "mm")(given_)
    assert values[:2].tolist() == [2, 8] and values[2].isnan()
    assert SurfaceDistance("nsd", "mm", tolerance=2)(given_)[:2].tolist() == [0, 1]


@pytest.mark.parametrize("spacing", [None, torch.full((1, 2), math.nan)])
def test_nothing_is_told_in_mm_where_nothing_is_known(spacing):
    masks = torch.ones(1, 1, 2, 2).byte()
    with pytest.raises(InputError, match="how large a pixel is"):
        SurfaceDistance("hd95", "mm")(Evaluation(masks, masks, spacing=spacing))


def test_values_that_are_no_class_are_refused():
    masks = torch.zeros(1, 1, 2, 2).byte()
    with pytest.raises(InputError, match="255"):
        hd95_cost(masks + 255, masks)


@pytest.mark.parametrize("options", [{"cost": "hd"}, {"unit": "cm"}, {"tolerance": 0}])
def test_options_that_make_no_sense(options):
    with pytest.raises(OptionError):
        SurfaceDistance(**options)
