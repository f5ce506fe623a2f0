"""Matched-set metrics against brute force over permutations and against each other."""

import itertools
import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import probseg
from probseg.errors import InputError, OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.kernels import dice_cost, iou_cost
from probseg.metrics.matching import (
    Wasserstein,
    hungarian_iou,
    w_cross_entropy,
    w_dice,
    w_hausdorff,
    w_iou,
    wasserstein,
)

quick = settings(max_examples=40, deadline=None)
costs = st.floats(-5, 5, width=32)


def brute_force(cost: np.ndarray) -> float:
    """Return the least mean cost over all permutations, both sets repeated to one size."""
    samples, annotations = cost.shape
    size = int(np.lcm(samples, annotations))
    square = cost.repeat(size // samples, 0).repeat(size // annotations, 1)
    best = min(
        sum(square[i, j] for i, j in enumerate(order))
        for order in itertools.permutations(range(size))
    )
    return best / size


SIZES = [(1, 1), (3, 3), (4, 2), (6, 3), (6, 1), (1, 4), (2, 6), (2, 3), (3, 2)]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_wasserstein_equals_brute_force_over_permutations(size):
    cost = np.random.default_rng(0).normal(size=(3, *size))
    expected = torch.tensor([brute_force(c) for c in cost], dtype=torch.float64)
    torch.testing.assert_close(wasserstein(torch.from_numpy(cost)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 4), (4, 16), (7, 7), (15, 3), (16, 1), (12, 6)])
def test_duplicated_annotations_give_exact_optimal_transport(size):
    cost = np.random.default_rng(1).random((4, *size))
    expected = [ot.emd2(ot.unif(size[0]), ot.unif(size[1]), c) for c in cost]
    np.testing.assert_allclose(wasserstein(torch.from_numpy(cost)), expected, atol=1e-12)


@pytest.mark.parametrize("size", [(15, 2), (15, 4), (16, 7), (5, 3), (4, 6)])
def test_unequal_sizes_equal_an_assignment_of_repeated_sets(size):
    from scipy.optimize import linear_sum_assignment

    cost = np.random.default_rng(2).random(size)
    many = int(np.lcm(*size))
    square = cost.repeat(many // size[0], 0).repeat(many // size[1], 1)
    expected = square[linear_sum_assignment(square)].mean()
    assert wasserstein(torch.from_numpy(cost)[None]).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [-2.0, 0.0, 3.0])
def test_equal_costs_of_any_sign_are_their_own_optimum(value):
    # POT by itself calls the negative one infeasible
    cost = torch.full((1, 3, 2), value)
    assert wasserstein(cost).item() == pytest.approx(value, abs=1e-12)


@quick
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=costs),
    st.randoms(use_true_random=False),
)
def test_order_is_irrelevant_and_shifts_and_scales_pass_through(cost, random):
    rows, columns = (random.sample(range(n), n) for n in cost.shape)
    value = wasserstein(torch.from_numpy(cost)[None])
    permuted = wasserstein(torch.from_numpy(cost[rows][:, columns])[None])
    torch.testing.assert_close(permuted, value, rtol=0, atol=1e-6)
    moved = wasserstein(3 * torch.from_numpy(cost).double()[None] + 2)
    torch.testing.assert_close(moved, 3 * value + 2, rtol=0, atol=1e-5)


def test_wasserstein_does_not_touch_its_input_or_carry_a_gradient():
    cost = torch.rand(2, 4, 2, requires_grad=True)
    before = cost.detach().clone()
    assert not wasserstein(cost).requires_grad
    assert torch.equal(cost, before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_costs_that_are_not_finite_are_named(value):
    cost = torch.zeros(2, 4, 3)
    cost[1, 2, 0] = value
    with pytest.raises(InputError, match=r"sample 2 and annotation 0 of image 1 .*one_empty"):
        wasserstein(cost)


@pytest.mark.parametrize("shape", [(4, 4), (1, 0, 4), (1, 4, 0)])
def test_costs_that_are_no_pairs_are_refused(shape):
    with pytest.raises(InputError, match="images, samples, annotations"):
        wasserstein(torch.zeros(shape))


def half_and_quarter() -> tuple[Tensor, Tensor]:
    """Samples (two modes, 3 to 1) and annotations (the same modes, 2 to 2) of two pixels."""
    both, one = [[1, 1]], [[1, 0]]
    return torch.tensor([[both, both, both, one]]), torch.tensor([[both, both, one, one]])


def test_hungarian_iou_of_two_modes_has_its_closed_form():
    samples, annotations = half_and_quarter()
    # three couples agree, the fourth has an IoU of one half
    assert hungarian_iou(samples, annotations).item() == 0.875
    assert wasserstein(iou_cost(samples, annotations)).item() == 0.125
    assert wasserstein(dice_cost(samples, annotations)).item() == pytest.approx((1 - 2 / 3) / 4)


def test_hungarian_iou_is_the_mean_over_all_foreground_classes():
    maps = torch.tensor([[[[0, 1, 2]], [[0, 1, 3]]]])
    # with itself 1; of classes 1, 2 and 3 the two maps share the first only, so 1/3 at a swap
    assert hungarian_iou(maps, maps.flip(1), classes=4).item() == 1
    assert hungarian_iou(maps[:, :1], maps[:, 1:], classes=4).item() == pytest.approx(1 / 3)


def test_metrics_of_two_modes_have_their_closed_forms():
    samples, annotations = half_and_quarter()
    probabilities = torch.nn.functional.one_hot(samples, 2).movedim(-1, 2) * 0.8 + 0.1
    evaluation = Evaluation(probabilities, annotations)
    assert w_iou()(evaluation).item() == 0.125
    assert w_dice()(evaluation).item() == pytest.approx(1 / 12)
    assert w_hausdorff()(evaluation).item() == 0.25  # pixels: one couple, one pixel apart
    # seven of eight pixels have probability .9, one has .1
    expected = -(7 * np.log(0.9) + np.log(0.1)) / 8
    assert w_cross_entropy()(evaluation).item() == pytest.approx(expected)


def test_options_reach_the_kernels():
    empty = torch.tensor([[[[[1.0, 1.0]], [[0.0, 0.0]]]]])
    evaluation = Evaluation(empty, torch.tensor([[[[1, 1]]]]))
    assert w_hausdorff(one_empty=9.0)(evaluation).item() == 9
    assert w_cross_entropy(epsilon=0.5)(evaluation).item() == pytest.approx(np.log(2))
    with pytest.raises(InputError, match="one_empty"):
        w_hausdorff(one_empty="nan")(evaluation)


def test_any_pairwise_cost_can_be_matched():
    samples, annotations = half_and_quarter()
    evaluation = Evaluation(
        torch.nn.functional.one_hot(samples, 2).movedim(-1, 2) * 1.0, annotations
    )

    def area(evaluation: Evaluation) -> Tensor:
        left, right = evaluation.labels.sum((2, 3)), evaluation.annotations.sum((2, 3))
        return (left[:, :, None] - right[:, None]).abs()

    assert Wasserstein(area)(evaluation).item() == 0.25


@pytest.mark.parametrize(("samples", "annotators"), [(100, 4), (4, 1), (3, 5), (4, 4)])
def test_both_readings_of_hungarian_iou_are_those_of_scipy(samples, annotators):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(3, samples + annotators, 8, 8, generator=generator) > 0.5
    s, a = drawn.byte().split((samples, annotators), dim=1)
    rectangular, repeated = [], []
    times = math.lcm(samples, annotators)
    for cost in iou_cost(s, a).numpy():
        rectangular.append(1 - cost[linear_sum_assignment(cost)].mean())
        whole = cost.repeat(times // samples, 0).repeat(times // annotators, 1)
        repeated.append(1 - whole[linear_sum_assignment(whole)].mean())
    evaluation = Evaluation(s, a)
    for matching, wanted in (("rectangular", rectangular), ("repeated", repeated)):
        assert hungarian_iou(s, a, matching=matching).tolist() == pytest.approx(wanted)
        metric = probseg.metrics.create("hungarian-iou", matching=matching)
        assert compute_metrics(evaluation, {"iou": metric})["iou"].tolist() == pytest.approx(wanted)
    assert hungarian_iou(s, a).tolist() == pytest.approx(repeated)


@pytest.mark.parametrize(("samples", "annotators"), [(5, 3), (3, 5), (4, 1)])
def test_best_pairs_and_nearest_samples_are_brute_force(samples, annotators):
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(3, samples + annotators, 4, 4, generator=generator) > 0.6
    s, a = drawn.byte().split((samples, annotators), dim=1)
    names = ("rectangular-iou", "dice-match", "dice-max")
    found = compute_metrics(Evaluation(s, a), names)
    for name, cost in zip(names[:2], (iou_cost(s, a), dice_cost(s, a)), strict=True):
        wanted = [1 - cheapest_choice(one if samples <= annotators else one.T) for one in cost]
        assert found[name].tolist() == pytest.approx(wanted)
    nearest = [np.mean([1 - min(column) for column in one.T]) for one in dice_cost(s, a)]
    assert found["dice-max"].tolist() == pytest.approx(nearest)


def cheapest_choice(cost: Tensor) -> float:
    """Return the least mean cost of rows with a column each, no column twice."""
    rows, columns = cost.shape
    choices = itertools.permutations(range(columns), rows)
    return min(float(np.mean([cost[i, j] for i, j in enumerate(one)])) for one in choices)


def test_another_reading_is_refused():
    masks = torch.zeros(1, 1, 2, 2).byte()
    with pytest.raises(OptionError, match="rectangular"):
        hungarian_iou(masks, masks, matching="square")
    with pytest.raises(OptionError, match="rectangular"):
        probseg.metrics.create("hungarian-iou", matching="square")
