"""Metrics with one fault each, and the check that is there for it."""

from dataclasses import replace
from itertools import cycle, islice

import torch
from scipy.optimize import linear_sum_assignment

from probseg.metrics.evaluation import checked_annotations


class Matched:
    """Mean Hamming distance of the best couples; sound, unless a subclass breaks it."""

    higher_is_better = False

    def __call__(self, evaluation):
        drawn = self.drawn(evaluation)
        differs = evaluation.labels[:, :, None] != drawn.maps[:, None]
        if drawn.ignored is not None:
            differs &= ~drawn.ignored[:, None]
        cost = differs.double().mean((3, 4))
        return torch.stack([self.match(c) for c in cost])

    def drawn(self, evaluation):
        return checked_annotations(evaluation)

    def match(self, cost):
        times = torch.tensor(cost.shape).prod()  # a common multiple of both numbers
        rows = cost.repeat_interleave(times // len(cost), 0)
        pairs = rows.repeat_interleave(times // cost.shape[1], 1)
        return pairs[linear_sum_assignment(pairs)].mean()


class NoDirection(Matched):
    higher_is_better = "lower"


class OneNumber(Matched):
    def __call__(self, evaluation):
        return super().__call__(evaluation).mean()


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
        return cost[tuple(order)].mean()


class WholeBatch(Matched):
    def __call__(self, evaluation):
        scores = super().__call__(evaluation)
        return scores - scores.mean()


class CountsUnlabelled(Matched):
    """Takes pixels that nobody labelled for background."""

    def drawn(self, evaluation):
        return super().drawn(evaluation)._replace(ignored=None)


class RefusesUnlabelled(Matched):
    """Takes every value of an annotation for a class."""

    def drawn(self, evaluation):
        return super().drawn(replace(evaluation, ignore_index=None))


class Overwrites(Matched):
    def __call__(self, evaluation):
        scores = super().__call__(evaluation)
        evaluation.probabilities.zero_()
        return scores


class WrongDirection(Matched):
    higher_is_better = True


class PrefersSmallSamples(Matched):
    """Compares areas, and rewards samples that are too small."""

    def __call__(self, evaluation):
        samples, annotations = evaluation.labels.double(), evaluation.annotations.double()
        return samples.mean((1, 2, 3)) - annotations.mean((1, 2, 3))


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


class MultiplesOnly(Matched):
    """Repeats the annotations where that comes out even, and leaves some out elsewhere."""

    def match(self, cost):
        times = max(len(cost) // cost.shape[1], 1) if len(cost) % cost.shape[1] == 0 else 1
        pairs = cost.repeat(1, times)
        return pairs[linear_sum_assignment(pairs)].mean()


class LeavesSomeOut(Matched):
    """Couples as many as there are on the smaller side."""

    def match(self, cost):
        return cost[linear_sum_assignment(cost)].mean()


SOUND = {kind: Matched for kind in ("metric", "agreement", "matching")}
FAULTS = {
    "metric": {
        "one_number_per_image": [NoDirection, OneNumber, SinglePrecision, FewAnnotatorsOnly],
        "empty_masks_are_scored": [EmptyIsNothing],
        "order_is_irrelevant": [InOrder],
        "an_image_ignores_its_batch": [WholeBatch],
        "unlabelled_pixels_count_for_nothing": [CountsUnlabelled, RefusesUnlabelled],
        "arguments_stay_as_they_are": [Overwrites],
    },
    "agreement": {
        "equal_sets_are_best": [WrongDirection, PrefersSmallSamples],
        "two_empty_masks_agree": [EmptyIsWorst],
    },
    "matching": {
        "equals_the_best_permutation": [NotMatched],
        "repeated_annotations_change_nothing": [LeavesSomeOut, MultiplesOnly],
    },
}
