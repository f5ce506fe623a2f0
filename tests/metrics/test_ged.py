"""The energy distance against closed forms, a loop over all pairs, and its invariants."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from probseg.errors import OptionError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.ged import (
    GED,
    annotator_diversity,
    diversity,
    ged_cross,
    generalised_energy_distance,
    sample_diversity,
)
from probseg.utils.tensors import certain

quick = settings(max_examples=50, deadline=None)


def disjoint(*counts: int) -> Tensor:
    """Return label maps of modes without overlap, mode i repeated counts[i] times."""
    modes = torch.eye(len(counts), dtype=torch.long)[:, None]
    return modes.repeat_interleave(torch.tensor(counts), dim=0)[None]


@st.composite
def label_sets(draw: st.DrawFn, size: int = 5) -> Tensor:
    n = draw(st.integers(1, size))
    bits = draw(st.lists(st.integers(0, 2), min_size=n * 4, max_size=n * 4))
    return torch.tensor(bits).view(1, n, 2, 2)


def test_two_modes_with_known_frequencies():
    # With disjoint modes of frequencies p and q, d is 1 between modes, so D² = Σ (p − q)².
    ged = generalised_energy_distance(disjoint(6, 2), disjoint(1, 3))
    assert ged.cross.item() == 1 - (0.75 * 0.25 + 0.25 * 0.75)
    assert ged.samples.item() == 1 - (0.75**2 + 0.25**2)
    assert ged.annotators.item() == 1 - (0.25**2 + 0.75**2)
    assert ged.squared.item() == 2 * 0.5**2


def test_one_mode_against_another():
    ged = generalised_energy_distance(disjoint(3, 0), disjoint(0, 2))
    assert [term.item() for term in ged] == [1, 0, 0]
    assert ged.squared.item() == 2


def test_one_mode_of_half_overlap():
    whole, half = torch.tensor([[[[1, 1]]]]), torch.tensor([[[[1, 0]]]])
    assert generalised_energy_distance(whole, half).squared.item() == 1


def test_empty_sets_agree_and_differ_from_a_lesion():
    empty, lesion = torch.zeros(1, 2, 1, 2).long(), torch.ones(1, 3, 1, 2).long()
    assert generalised_energy_distance(empty, empty[:, :1]).squared.item() == 0
    assert generalised_energy_distance(empty, lesion).squared.item() == 2


def test_diversity_counts_the_diagonal_as_the_field_does():
    assert sample_diversity(disjoint(1, 1, 1, 1)).item() == 1 - 1 / 4
    assert sample_diversity(disjoint(4)).item() == 0


@quick
@given(label_sets(), label_sets())
def test_terms_equal_loops_over_all_pairs(samples, annotations):
    def distance(left: Tensor, right: Tensor) -> float:
        overlaps = [
            ((left == k) & (right == k)).sum() / union
            if (union := ((left == k) | (right == k)).sum())
            else torch.tensor(1.0)
            for k in (1, 2)
        ]
        return float(1 - sum(overlaps) / 2)

    def expectation(left: Tensor, right: Tensor) -> float:
        pairs = list(itertools.product(left[0], right[0]))
        return sum(distance(u, v) for u, v in pairs) / len(pairs)

    ged = generalised_energy_distance(samples, annotations, classes=3)
    cross, left, right = (
        expectation(u, v)
        for u, v in ((samples, annotations), (samples, samples), (annotations, annotations))
    )
    assert ged.cross.item() == pytest.approx(cross, abs=1e-6)
    assert ged.samples.item() == pytest.approx(left, abs=1e-6)
    assert ged.annotators.item() == pytest.approx(right, abs=1e-6)
    assert ged.squared.item() == pytest.approx(2 * cross - left - right, abs=1e-6)


@quick
@given(label_sets(), label_sets())
def test_it_is_a_distance_of_sets(samples, annotations):
    there = generalised_energy_distance(samples, annotations, classes=3).squared.item()
    back = generalised_energy_distance(annotations, samples, classes=3).squared.item()
    assert there == pytest.approx(back, abs=1e-12)
    assert -1e-12 <= there <= 2


@quick
@given(label_sets(), st.integers(1, 3), st.randoms(use_true_random=False))
def test_equal_distributions_have_none(samples, times, random):
    order = random.sample(range(samples.shape[1] * times), samples.shape[1] * times)
    same = samples.repeat(1, times, 1, 1)[:, order]
    ged = generalised_energy_distance(samples, same, classes=3).squared.item()
    assert ged == pytest.approx(0, abs=1e-12)


def test_metrics_give_the_function_and_its_terms():
    samples, annotations = disjoint(6, 2), disjoint(1, 3)
    probabilities = torch.nn.functional.one_hot(samples, 2).movedim(-1, 2) * 1.0
    evaluation = Evaluation(probabilities, annotations)
    assert GED()(evaluation).tolist() == [0.5]
    assert ged_cross()(evaluation).tolist() == [0.625]
    assert diversity()(evaluation).tolist() == [0.375]
    assert annotator_diversity()(evaluation).tolist() == [0.375]


def test_samples_and_annotators_are_told_apart():
    probabilities = torch.nn.functional.one_hot(disjoint(4, 0), 2).movedim(-1, 2) * 1.0
    evaluation = Evaluation(probabilities, disjoint(1, 1))
    assert diversity()(evaluation).item() == 0
    assert annotator_diversity()(evaluation).item() == 0.5
    assert ged_cross()(evaluation).item() == 0.5
    assert GED()(evaluation).item() == 0.5


def test_one_annotation_says_nothing_of_the_annotators_diversity():
    samples = certain(torch.tensor([[[[1, 0]], [[0, 1]]]]), 2)
    evaluation = Evaluation(samples, torch.ones(1, 1, 1, 2, dtype=torch.long))
    values = compute_metrics(evaluation, ["annotator-diversity", "ged", "diversity"])
    assert values["annotator-diversity"].isnan().all()
    assert values["ged"].item() == 2 * 0.5 - values["diversity"].item()  # E d(Y, Y) is zero


@quick
@given(label_sets(), label_sets(), st.integers(1, 4))
def test_the_expected_ged_of_fewer_samples_is_the_mean_over_all_choices_of_them(
    samples, annotations, count
):
    samples = samples.repeat(1, 4, 1, 1)[:, : max(2, samples.shape[1])]
    count = min(count, samples.shape[1])
    choices = itertools.combinations(range(samples.shape[1]), count)
    every = [
        GED()(Evaluation(certain(samples[:, list(one)], 3), annotations)).item() for one in choices
    ]
    found = GED(samples=count)(Evaluation(certain(samples, 3), annotations)).item()
    assert found == pytest.approx(sum(every) / len(every), abs=1e-9)


def test_one_sample_does_not_tell_the_ged_of_several():
    one = Evaluation(disjoint(1, 0), disjoint(1, 3))
    assert GED(samples=16)(one).isnan().all()
    assert GED(samples=1)(one).item() == GED()(one).item()
    assert GED(samples=4)(Evaluation(disjoint(1, 3), disjoint(1, 3))).item() == 0


def test_the_number_of_samples_is_positive():
    with pytest.raises(OptionError, match="samples"):
        GED(samples=0)
