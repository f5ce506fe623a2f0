"""Set losses against loops over pairs, scipy's assignment and invariants."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog

from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics.ged import GED
from probseg.set_losses import jaccard
from probseg.set_losses.energy import Energy
from probseg.set_losses.sinkhorn import Sinkhorn
from probseg.set_losses.transport import ExactOT
from probseg.utils.tensors import IGNORED, one_hot

H, W = 5, 7


def _distance(u, v, labelled):
    """The formula, for one pair and class by class: u and v (K, H, W)."""
    values = []
    for one, two in zip(u[1:], v[1:], strict=True):
        one, two = one[labelled], two[labelled]
        both, apart = one.sum() + two.sum(), (one - two).abs().sum()
        values.append(1 - (both - apart + 1) / (both + apart + 1))
    return torch.stack(values).mean()


def _one_hot(mask, classes):
    return torch.stack([(mask == k).double() for k in range(classes)])


def _random(samples, images, annotators, classes, seed, *, ignored=0.0):
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, images, classes, H, W)
    probabilities = (3 * torch.randn(shape, generator=generator)).double().softmax(2)
    masks = torch.randint(classes, (images, annotators, H, W), generator=generator)
    holes = torch.rand(masks.shape, generator=generator) < ignored
    return probabilities, masks.masked_fill(holes, IGNORED)


def _energy(samples, masks):
    """A loop over all pairs."""
    scores = []
    for image in range(masks.shape[0]):
        mine, theirs = samples[:, image], masks[image]
        annotators = [a for a in theirs if (a != IGNORED).any()]
        fits = [_distance(u, _one_hot(a, len(u)), a != IGNORED) for u in mine for a in annotators]
        pairs = [(u, v, a) for i, u in enumerate(mine) for v in mine[:i] for a in annotators]
        apart = [_distance(u, v, a != IGNORED) for u, v, a in pairs]
        spread = torch.stack(apart).mean() if apart else torch.tensor(0.0)
        scores.append(torch.stack(fits).mean() - spread / 2)
    return torch.stack(scores)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(2, 4), st.integers(0, 999)
)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_the_energy_score_equals_a_loop_over_pairs(ignored, samples, images, annotators, k, seed):
    drawn, masks = _random(samples, images, annotators, k, seed, ignored=ignored)
    torch.testing.assert_close(Energy()(drawn, masks), _energy(drawn, masks).to(drawn.dtype))


def test_annotators_of_different_pixels_are_scored_each_on_their_own():
    """Nobody disagrees with anybody, so that no set of samples is better than what all say."""
    truth = torch.zeros(16, 32, dtype=torch.long)
    truth[4:12, 4:12] = 1
    left, right = truth.clone(), truth.clone()
    left[:, 16:] = right[:, :16] = IGNORED
    masks = torch.stack([left, right])[None]
    agreed = _one_hot(truth, 2).expand(8, 1, 2, 16, 32)
    noisy = agreed.clone()
    for sample in range(8):  # each lacks another row
        noisy[sample, 0, :, 4 + sample] = torch.tensor([[1.0], [0.0]])
    for loss in (Energy(), Energy(stratified=True), Sinkhorn()):
        alone = (loss(noisy, masks[:, :1]) + loss(noisy, masks[:, 1:])) / 2
        torch.testing.assert_close(loss(agreed, masks), torch.zeros(1).double())
        assert loss(noisy, masks) > -1e-12
        if isinstance(loss, Energy):
            torch.testing.assert_close(loss(noisy, masks), alone)


def test_of_stratified_samples_the_spread_is_the_mean_over_all_pairs_as_of_ged():
    drawn, masks = _random(4, 2, 3, 2, 0)
    crisp = one_hot(drawn.argmax(2).flatten(0, 1), 2).view_as(drawn).to(drawn.dtype)
    annotators = jaccard.between_annotations(masks, 2, drawn.dtype).mean((1, 2))
    found = 2 * Energy(stratified=True)(crisp, masks) - annotators
    loop = _energy(crisp, masks)
    apart = jaccard.to_each_other(crisp, masks).sum((1, 2))
    torch.testing.assert_close(found, 2 * (loop + apart / 24 - apart / 32) - annotators)
    # GED itself, whose distances lack the 1 in the denominator
    ged = GED()(Evaluation(crisp.transpose(0, 1), masks))
    torch.testing.assert_close(found, ged.to(found.dtype), atol=0.05, rtol=0)


def test_experts_that_draw_stratified_samples_keep_the_unbiased_spread():
    drawn, masks = _random(4, 2, 3, 2, 0)
    weights = _weights(2, 2, 0)
    expected = Energy()(drawn, masks, weights)
    torch.testing.assert_close(Energy(stratified=True)(drawn, masks, weights), expected)


def _weights(experts, images, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(experts, images, generator=generator).double().softmax(0)


def _energy_of_experts(samples, masks, weights):
    """A loop over experts, the pairs of their samples and annotators; nobody is absent."""
    scores = []
    for image, mine in enumerate(samples.transpose(0, 1)):
        of = mine.chunk(len(weights))
        theirs = [_one_hot(mask, mine.shape[1]) for mask in masks[image]]
        everywhere = torch.ones(H, W, dtype=torch.bool)
        score = torch.tensor(0.0)
        for g, some in enumerate(of):
            fits = [_distance(u, v, everywhere) for u in some for v in theirs]
            score = score + weights[g, image] * torch.stack(fits).mean()
            for h, others in enumerate(of):
                pairs = [(i, j) for i in range(len(some)) for j in range(len(others))]
                different = [(i, j) for i, j in pairs if g != h or i != j] or [(0, 0)]
                apart = [_distance(some[i], others[j], everywhere) for i, j in different]
                score = score - weights[[g, h], image].prod() * torch.stack(apart).mean() / 2
        scores.append(score)
    return torch.stack(scores)


@pytest.mark.parametrize(("samples", "experts"), [(4, 2), (4, 4), (6, 2), (3, 1)])
def test_the_energy_score_of_experts_equals_a_loop_over_them(samples, experts):
    (drawn, masks), weights = _random(samples, 2, 3, 3, 5), _weights(experts, 2, 0)
    expected = _energy_of_experts(drawn, masks, weights)
    torch.testing.assert_close(Energy()(drawn, masks, weights), expected.to(drawn.dtype))


def test_the_energy_score_of_experts_is_that_of_their_mixture_on_average():
    """Over all draws of two samples an expert, where each expert draws one of two masks."""
    choices, masks = _random(4, 1, 3, 2, 6)
    weights = torch.tensor([[0.3], [0.7]]).double()
    draws = [(a, b, c, d) for a in (0, 1) for b in (0, 1) for c in (2, 3) for d in (2, 3)]
    mean = torch.stack([Energy()(choices[list(draw)], masks, weights) for draw in draws]).mean()
    mass = weights[:, 0].repeat_interleave(2) / 2
    fit = mass @ jaccard.to_annotations(choices, masks)[0][0].mean(1)
    spread = mass @ jaccard.to_each_other(choices, masks)[0] @ mass
    torch.testing.assert_close(mean, fit - spread / 2)


def test_exact_transport_of_experts_solves_the_linear_program():
    (drawn, masks), weights = _random(6, 2, 4, 2, 7), _weights(3, 2, 1)
    costs, _ = jaccard.to_annotations(drawn, masks)
    rows, columns = torch.eye(6).repeat_interleave(4, 1), torch.eye(4).repeat(1, 6)
    for image, actual in enumerate(ExactOT()(drawn, masks, weights)):
        masses = torch.cat([weights[:, image].repeat_interleave(2) / 2, torch.full((4,), 0.25)])
        marginals = torch.cat([rows, columns]).numpy()
        solved = linprog(costs[image].flatten().numpy(), A_eq=marginals, b_eq=masses.numpy())
        assert actual.item() == pytest.approx(solved.fun, abs=1e-9)


@pytest.mark.parametrize("loss", [Energy(), ExactOT()])
def test_gradients_reach_the_weights_of_experts(loss):
    drawn, masks = _random(4, 2, 3, 2, 8, ignored=0.2)
    logits = torch.randn(2, 2, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(drawn, masks, z.softmax(0)), logits, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 2), (2, 1), (2,), (0, 2), (8, 2)])
def test_weights_that_are_not_of_the_samples_are_refused(shape):
    drawn, masks = _random(4, 2, 3, 2, 9)
    with pytest.raises(InputError, match=r"must be \(G, 2\), where G divides the 4 samples, not"):
        Energy()(drawn, masks, torch.ones(shape))


def test_who_is_absent_has_no_say():
    drawn, masks = _random(3, 2, 3, 3, 0)
    absent = masks.clone()
    absent[:, 1] = IGNORED
    for loss in (Energy(), ExactOT()):
        torch.testing.assert_close(loss(drawn, absent), loss(drawn, masks[:, [0, 2]]))
    assert Energy()(drawn, torch.full_like(masks, IGNORED)).tolist() == [0, 0]
    assert ExactOT()(drawn, torch.full_like(masks, IGNORED)).tolist() == [0, 0]


@pytest.mark.parametrize("loss", [Energy(), Sinkhorn(), ExactOT()])
@pytest.mark.parametrize("value", [3, -1, 255])
def test_a_value_that_is_no_class_makes_the_loss_of_its_image_nan(loss, value):
    samples, masks = _random(4, 2, 3, 3, seed=11, ignored=0.2)
    wanted = loss(samples, masks)
    masks[1, 2, 3, 4] = value
    found = loss(samples, masks)
    assert found[1].isnan()
    torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=0)


def test_the_distance_of_binary_masks_is_one_minus_their_iou_but_for_the_ones():
    a, b = (torch.zeros(H, W, dtype=torch.long) for _ in range(2))
    a[:3], b[2:] = 1, 1
    sample = torch.stack([_one_hot(a, 2), torch.stack([torch.ones(H, W), torch.zeros(H, W)])])
    distances, _ = jaccard.to_annotations(sample[:, None].double(), torch.stack([b, b * 0])[None])
    intersection, union = 7, 35
    expected = [[1 - (2 * intersection + 1) / (2 * union + 1), 1 - 1 / (2 * 21 + 1)], [0, 0]]
    expected[1] = [1 - 1 / (2 * 21 + 1), 0]  # an empty sample: far from b, equal to an empty mask
    torch.testing.assert_close(distances[0], torch.tensor(expected).double())


def test_equal_soft_masks_are_at_no_distance():
    drawn, masks = _random(1, 2, 2, 3, 1)
    assert jaccard.to_each_other(drawn.repeat(2, 1, 1, 1, 1), masks).abs().max() < 1e-12


@pytest.mark.parametrize("count", [2, 5])
def test_exact_transport_of_as_many_samples_as_annotations_is_an_assignment(count):
    drawn, masks = _random(count, 2, count, 2, 3)
    cost, _ = jaccard.to_annotations(drawn, masks)
    expected = [c[linear_sum_assignment(c)].mean() for c in cost.numpy()]
    torch.testing.assert_close(ExactOT()(drawn, masks).numpy(), torch.tensor(expected).numpy())


@pytest.mark.parametrize("loss", [Energy(), ExactOT()])
def test_gradients_are_those_of_differences(loss):
    drawn, masks = _random(3, 1, 2, 2, 4, ignored=0.2)
    logits = drawn.log().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z.softmax(2), masks), logits, atol=1e-5)


def test_the_truth_has_the_best_energy_score():
    """Samples in the annotators' proportions score better than others, as of a proper rule."""
    a, b = (torch.zeros(H, W, dtype=torch.long) for _ in range(2))
    a[:3], b[2:] = 1, 1
    masks = torch.stack([a, a, a, b])[None]
    draws = {n: torch.stack([_one_hot(a, 2)] * n + [_one_hot(b, 2)] * (40 - n)) for n in range(41)}
    scores = {n: Energy()(drawn[:, None], masks).item() for n, drawn in draws.items()}
    assert min(scores, key=scores.__getitem__) in (30, 31)


def _converged(epsilon):
    return Sinkhorn(epsilon=epsilon, iterations=round(1 / epsilon) + 30)


def test_the_sinkhorn_divergence_becomes_the_exact_transport():
    (drawn, masks), weights = _random(4, 2, 3, 3, 10, ignored=0.2), _weights(2, 2, 2)
    exact = ExactOT()(drawn, masks, weights)
    errors = [(_converged(e)(drawn, masks, weights) - exact).abs().max() for e in (0.1, 0.01, 1e-3)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 2e-3


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_the_sinkhorn_divergence_is_pots(epsilon):
    drawn, masks = _random(4, 1, 3, 3, 11)
    theirs = torch.stack([_one_hot(mask, 3) for mask in masks[0]])
    a, b = [*drawn[:, 0]], [*theirs]

    def cost(first, second):
        """W of uniform sets, from POT's plan, with its relative entropy."""
        everywhere = torch.ones(H, W, dtype=torch.bool)
        costs = torch.stack([_distance(u, v, everywhere) for u in first for v in second])
        costs = costs.view(len(first), len(second)).numpy()
        plan = ot.sinkhorn([], [], costs, epsilon, method="sinkhorn_log", stopThr=1e-12)
        return (plan * costs).sum() + epsilon * (plan * np.log(plan * costs.size)).sum()

    expected = cost(a, b) - (cost(a, a) + cost(b, b)) / 2
    assert _converged(epsilon)(drawn, masks).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"epsilon": 1.0}, {"epsilon": 0.01, "iterations": 3}])
def test_the_sinkhorn_divergence_of_equal_sets_is_zero(options):
    _, masks = _random(1, 2, 3, 3, 12)
    drawn = torch.stack([(masks == k).movedim(1, 0) for k in range(3)], dim=2).double()
    assert Sinkhorn(**options)(drawn, masks).abs().max() < 1e-12


def test_the_gradient_of_the_sinkhorn_divergence_is_that_of_differences():
    drawn, masks = _random(3, 1, 2, 2, 13, ignored=0.2)
    z = torch.zeros(2, 1).double().requires_grad_()
    loss, logits = _converged(0.2), drawn[:2].log().requires_grad_()
    check = {"atol": 1e-5, "fast_mode": True}
    assert torch.autograd.gradcheck(lambda x: loss(x.softmax(2), masks), logits, **check)
    assert torch.autograd.gradcheck(lambda x: loss(drawn[:2], masks, x.softmax(0)), z, **check)
