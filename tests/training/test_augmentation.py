"""The transformations of Table 5, against scipy, closed forms and invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from probseg.training.augmentation import (
    TABLE_5,
    Draw,
    affine_matrix,
    apply,
    draw,
    draw_flips,
    flip,
)


def augment(image, masks, *, generator):
    return apply(image, masks, draw(len(image), generator))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def identity(count: int = 1) -> Draw:
    zero, one = torch.zeros(count), torch.ones(count)
    return Draw(zero, torch.zeros(count, 2), one, torch.zeros(count, 2), one, one)


def smooth_blob(size: int = 64) -> torch.Tensor:
    """An asymmetric blob in the middle, (1, 1, size, size), zero near the edges."""
    image = torch.zeros(size, size)
    image[26:40, 22:36] = 1.0
    image[30:34, 30:44] = 1.0
    blurred = ndimage.gaussian_filter(image.numpy(), 1.5)
    return torch.from_numpy(blurred / blurred.max())[None, None]


@pytest.mark.parametrize(
    ("column", "interval"),
    [
        ("rotation", (-180, 180)),
        ("translation", (-0.1, 0.1)),
        ("scale", (0.8, 1.2)),
        ("shear", (-30, 30)),
        ("brightness", (0.8, 1.2)),
        ("gamma", (0.5, 1.5)),
    ],
)
def test_parameters_are_uniform_on_the_intervals_of_table_5(column, interval):
    values = getattr(draw(4000, seeded(0)), column).double().reshape(-1).numpy()
    low, high = interval
    assert stats.kstest(values, "uniform", args=(low, high - low)).pvalue > 0.01
    assert TABLE_5[column] == interval


def test_parameters_are_independent_of_each_other():
    parameters = draw(4000, seeded(1))
    columns = torch.cat([value.reshape(4000, -1) for value in parameters], dim=1)
    correlation = np.corrcoef(columns.numpy().T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 0.06


def test_identity_parameters_change_nothing():
    image = torch.rand(3, 2, 17, 24, generator=seeded(0))
    masks = torch.randint(5, (3, 4, 17, 24), generator=seeded(1), dtype=torch.uint8)
    same_image, same_masks = apply(image, masks, identity(3))
    torch.testing.assert_close(same_image, image, rtol=0, atol=1e-5)
    assert torch.equal(same_masks, masks)
    assert same_masks.dtype == torch.uint8


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_equal_rot90(quarters):
    image = torch.rand(1, 1, 32, 32, generator=seeded(0))
    masks = torch.randint(3, (1, 2, 32, 32), generator=seeded(1), dtype=torch.uint8)
    turned = identity()._replace(rotation=torch.tensor([90.0 * quarters]))
    new_image, new_masks = apply(image, masks, turned)
    expected = image.rot90(-quarters, (2, 3))  # clockwise, as displayed
    torch.testing.assert_close(new_image, expected, rtol=0, atol=1e-4)
    assert torch.equal(new_masks, masks.rot90(-quarters, (2, 3)))


def test_translation_is_a_fraction_of_width_then_height():
    masks = torch.zeros(1, 1, 20, 40, dtype=torch.uint8)
    masks[0, 0, 10, 20] = 1
    moved = identity()._replace(translation=torch.tensor([[0.1, -0.1]]))
    _, new_masks = apply(torch.zeros(1, 1, 20, 40), masks, moved)
    assert new_masks.nonzero().tolist() == [[0, 0, 10 - 2, 20 + 4]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_area_grows_with_the_square_of_the_scale_alone(seed):
    parameters = draw(1, seeded(seed))
    matrix = affine_matrix(parameters, height=50, width=70)[0, :2, :2].double()
    assert torch.det(matrix).item() == pytest.approx(parameters.scale.item() ** 2, rel=1e-4)


def by_hand(parameters: Draw, height: int, width: int) -> np.ndarray:
    """Shear along x, then y, then turn clockwise (y points down) and scale, then shift."""
    turn, scale = math.radians(parameters.rotation.item()), parameters.scale.item()
    across, down = np.tan(np.radians(parameters.shear[0].double().numpy()))
    shear = np.array([[1, 0], [-down, 1]]) @ np.array([[1, -across], [0, 1]])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = scale * rotation @ shear
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = parameters.translation[0].double().numpy() * (width, height)
    return np.column_stack([matrix, centre + shift - matrix @ centre])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 90), st.integers(8, 90))
def test_the_map_is_shear_then_turn_and_scale_then_shift_about_the_centre(seed, height, width):
    parameters = draw(1, seeded(seed))
    found = affine_matrix(parameters, height=height, width=width)[0].double().numpy()
    np.testing.assert_allclose(found[:2], by_hand(parameters, height, width), atol=2e-3)
    np.testing.assert_array_equal(found[2], [0, 0, 1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_the_image_moves_as_scipy_moves_it(seed):
    image = smooth_blob()
    parameters = draw(1, seeded(seed))._replace(brightness=torch.ones(1), gamma=torch.ones(1))
    moved, _ = apply(image, torch.zeros(1, 1, 64, 64, dtype=torch.uint8), parameters)
    matrix = affine_matrix(parameters, height=64, width=64)[0].double().numpy()
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # scipy: rows first, output to input
    backward = swap @ np.linalg.inv(matrix) @ swap
    expected = ndimage.affine_transform(image[0, 0].numpy(), backward, order=1)
    np.testing.assert_allclose(moved[0, 0].numpy(), expected, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_mask_and_image_stay_aligned(seed):
    image = smooth_blob()
    masks = (image > 0.5).to(torch.uint8)
    parameters = draw(1, seeded(seed))._replace(brightness=torch.ones(1), gamma=torch.ones(1))
    moved, new_masks = apply(image, masks, parameters)
    thresholded = moved > 0.5
    assert thresholded.any()
    # nearest neighbour may err by half a pixel along the contour
    sure = (moved < 0.25) | (moved > 0.75)
    assert torch.equal(new_masks.bool()[sure], thresholded[sure])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_no_new_class_and_all_annotators_move_together(seed):
    masks = torch.tensor([0, 3, 7], dtype=torch.uint8)[torch.randint(3, (2, 1, 24, 24))]
    _, moved = augment(torch.rand(2, 1, 24, 24), masks.expand(2, 4, 24, 24), generator=seeded(seed))
    assert set(moved.unique().tolist()) <= {0, 3, 7}
    assert torch.equal(moved, moved[:, :1].expand_as(moved))


def test_same_seed_same_result_and_each_image_its_own():
    image, masks = torch.rand(1, 1, 32, 32).expand(3, 1, 32, 32), torch.zeros(3, 1, 32, 32).byte()
    first, _ = augment(image, masks, generator=seeded(5))
    again, _ = augment(image, masks, generator=seeded(5))
    other, _ = augment(image, masks, generator=seeded(6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_brightness_multiplies_then_gamma_is_the_exponent():
    image = torch.rand(2, 1, 8, 8, generator=seeded(0))
    changed = identity(2)._replace(
        brightness=torch.tensor([1.2, 0.8]), gamma=torch.tensor([0.5, 1.5])
    )
    moved, _ = apply(image, torch.zeros(2, 1, 8, 8).byte(), changed)
    expected = torch.stack([(1.2 * image[0]).clamp(max=1).sqrt(), (0.8 * image[1]) ** 1.5])
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-4)


def test_intensities_outside_the_unit_interval_keep_their_range():
    image = torch.randn(4, 1, 16, 16, generator=seeded(0)) * 300 - 200
    changed = identity(4)._replace(gamma=torch.full((4,), 0.5))
    moved, _ = apply(image, torch.zeros(4, 1, 16, 16).byte(), changed)
    low, high = image.amin((1, 2, 3), True), image.amax((1, 2, 3), True)
    expected = ((image - low) / (high - low)).sqrt() * (high - low) + low
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=0.2)


@pytest.mark.parametrize(("offset", "darkest"), [(0.0, 0.0), (-1000.0, -1000.0)])
def test_what_turns_in_is_background(offset, darkest):
    image = torch.full((1, 1, 32, 32), 0.5 + offset)
    image[0, 0, 16, 16] = darkest
    turned = identity()._replace(rotation=torch.tensor([45.0]))
    moved, masks = apply(image, torch.ones(1, 1, 32, 32).byte(), turned)
    assert moved[0, 0, 0, 0].item() == pytest.approx(darkest, abs=1e-3)
    assert masks[0, 0, 0, 0] == 0
    assert masks[0, 0, 16, 16] == 1


def test_half_a_right_angle_turns_a_point_onto_the_diagonal():
    corner = torch.zeros(1, 1, 33, 33, dtype=torch.uint8)
    corner[0, 0, 16, 32] = 1  # 16 pixels right of the centre
    turned = identity()._replace(rotation=torch.tensor([-45.0]))
    _, moved = apply(torch.zeros(1, 1, 33, 33), corner, turned)
    row, column = moved[0, 0].nonzero().double().mean(0).tolist()
    expected = 16 * math.sqrt(0.5)
    assert (row, column) == pytest.approx((16 - expected, 16 + expected), abs=0.75)


def test_masks_of_a_batch_follow_their_own_image():
    image = smooth_blob().expand(8, 1, 64, 64)
    _, masks = augment(image, (image > 0.5).byte(), generator=seeded(3))
    areas = masks.sum((1, 2, 3)).double()
    scale = draw(8, seeded(3)).scale.double()
    torch.testing.assert_close(areas / areas[0], (scale / scale[0]) ** 2, rtol=0.1, atol=0)


def test_flips_are_the_eight_symmetries_of_a_square():
    image = torch.arange(9.0).view(1, 1, 3, 3).expand(8, -1, -1, -1)
    masks = image.long().expand(-1, 2, -1, -1)
    flipped, moved = flip(image, masks, torch.arange(8))
    plain = image[0, 0].numpy()
    wanted = [np.rot90(one, turns) for one in (plain, np.fliplr(plain)) for turns in range(4)]
    np.testing.assert_array_equal(flipped[:, 0], np.stack(wanted))
    assert len({tuple(one.flatten().tolist()) for one in flipped}) == 8
    for annotator in range(2):  # masks move with their image
        torch.testing.assert_close(moved[:, annotator].float(), flipped[:, 0])


def test_images_that_are_not_square_keep_their_shape():
    image = torch.arange(6.0).view(1, 1, 2, 3).expand(8, -1, -1, -1)
    flipped, _ = flip(image, image.long(), torch.arange(8))
    assert flipped.shape == image.shape
    rows = {tuple(one.flatten().tolist()) for one in flipped}
    assert rows == {
        tuple(one.ravel())
        for one in (np.arange(6.0).reshape(2, 3)[::v, ::h] for v in (1, -1) for h in (1, -1))
    }


def test_flips_are_drawn_uniformly_and_follow_the_seed():
    drawn = draw_flips(8000, seeded(0))
    counts = np.bincount(drawn, minlength=8)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert torch.equal(drawn, draw_flips(8000, seeded(0)))


def test_the_arguments_of_a_flip_stay_as_they_are():
    image, masks = torch.rand(3, 1, 4, 4), torch.randint(2, (3, 2, 4, 4))
    before = image.clone(), masks.clone()
    flip(image, masks, torch.tensor([5, 2, 7]))
    assert torch.equal(image, before[0]) and torch.equal(masks, before[1])
