"""Each check of metrics refuses a metric with the fault that it is there for."""

from itertools import cycle, islice

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from probseg.testing import check, checks


class Matched:
    """Mean Hamming distance of the best couples; sound, unless a subclass breaks it."""

    higher_is_better = False

    def __call__(self, evaluation):
        labels = evaluation.labels.double()
        cost = (labels[:, :, None] - evaluation.annotations[:, None]).abs().mean((3, 4))
        return torch.stack([self.match(c) for c in cost])

    def match(self, cost):
        times = torch.tensor(cost.shape).prod()  # a common multiple of both numbers
        rows = cost.repeat_interleave(times // len(cost), 0)
        pairs = rows.repeat_interleave(times // cost.shape[1], 1)
        return pairs[linear_sum_assignment(pairs)].mean()


class SinglePrecision(Matched):
    def __call__(self, evaluation):
        return super().__call__(evaluation).float()


class FewAnnotatorsOnly(Matched):
    def match(self, cost):
        return cost[: cost.shape[1]].diagonal().mean() if cost.shape[1] < 7 else cost.sum() / 0


class EmptyIsNothing(Matched):
    """Divides by the foreground."""

    def __call__(self, evaluation):
        foreground = evaluation.annotations.double().mean((1, 2, 3))
        return super().__call__(evaluation) / foreground


class InOrder(Matched):
    """Couples the first with the first."""

    def match(self, cost):
        samples, annotations = cost.shape
        number = max(samples, annotations)
        order = [list(islice(cycle(range(size)), number)) for size in cost.shape]
        return cost[order].mean()


class WholeBatch(Matched):
    def __call__(self, evaluation):
        scores = super().__call__(evaluation)
        return scores - scores.mean()


class Overwrites(Matched):
    def __call__(self, evaluation):
        scores = super().__call__(evaluation)
        evaluation.probabilities.zero_()
        return scores


class WrongDirection(Matched):
    higher_is_better = True


class EmptyIsWorst(Matched):
    """Scores two empty masks as a total disagreement."""

    def __call__(self, evaluation):
        scores = super().__call__(evaluation)
        scores[(evaluation.labels.sum((1, 2, 3)) == 0)] = 1
        return scores


class NotMatched(Matched):
    """The mean over all pairs."""

    def match(self, cost):
        return cost.mean()


class LeavesSomeOut(Matched):
    """Couples as many as there are on the smaller side."""

    def match(self, cost):
        return cost[linear_sum_assignment(cost)].mean()


FAULTS = {
    "metric": {
        "one_number_per_image": [SinglePrecision, FewAnnotatorsOnly],
        "empty_masks_are_scored": [EmptyIsNothing],
        "order_is_irrelevant": [InOrder],
        "an_image_ignores_its_batch": [WholeBatch],
        "arguments_stay_as_they_are": [Overwrites],
    },
    "agreement": {"equal_sets_are_best": [WrongDirection], "two_empty_masks_agree": [EmptyIsWorst]},
    "matching": {
        "equals_the_best_permutation": [NotMatched],
        "repeated_annotations_change_nothing": [LeavesSomeOut],
    },
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, one.__name__) for kind in FAULTS for one in checks[kind]]
)
def test_the_check_refuses_its_fault(kind, name, refuses):
    for fault in FAULTS[kind][name]:
        refuses(kind, name, fault)


@pytest.mark.parametrize("kind", FAULTS)
def test_the_sound_part_passes(kind):
    check(kind, Matched)
