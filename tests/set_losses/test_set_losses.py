"""Set losses against loops over pairs, scipy's assignment and invariants."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from probseg.set_losses import jaccard
from probseg.set_losses.energy import Energy
from probseg.set_losses.transport import ExactOT
from probseg.utils.tensors import IGNORED

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
        somebody = (theirs != IGNORED).any(0)
        fits = [_distance(u, _one_hot(a, len(u)), a != IGNORED) for u in mine for a in annotators]
        apart = [_distance(u, v, somebody) for i, u in enumerate(mine) for v in mine[:i]]
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


def test_who_is_absent_has_no_say():
    drawn, masks = _random(3, 2, 3, 3, 0)
    absent = masks.clone()
    absent[:, 1] = IGNORED
    for loss in (Energy(), ExactOT()):
        torch.testing.assert_close(loss(drawn, absent), loss(drawn, masks[:, [0, 2]]))
    assert Energy()(drawn, torch.full_like(masks, IGNORED)).tolist() == [0, 0]
    assert ExactOT()(drawn, torch.full_like(masks, IGNORED)).tolist() == [0, 0]


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
