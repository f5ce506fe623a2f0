"""Scores of label maps of any number of classes, by NumPy and SciPy alone, in loops over pairs."""

from math import lcm, nan

import numpy as np
from scipy.optimize import linear_sum_assignment

BINS = 15
LEVELS = [tenth / 10 for tenth in range(1, 10)]


def class_scores(samples, annotations, classes):
    """Return each metric's value on an image, from label maps (N, H, W) and (A, H, W)."""
    iou = [_costs(a, b, _iou, classes) for a, b in _sides(samples, annotations)]
    dice = _costs(samples, annotations, _dice, classes)
    cross, within, between = (cost.mean() for cost in iou)
    n, a = len(samples), len(annotations)
    p, q = (_means(side, classes) for side in (samples, annotations))
    foreground = range(1, classes)
    return {
        "ged": 2 * cross - within - between,
        "ged-cross": cross,
        "ged100": 2 * cross - within * n / (n - 1) * 0.99 - between if n > 1 else nan,
        "diversity": within,
        "annotator-diversity": between if a > 1 else nan,
        "w-iou": matched(iou[0]),
        "w-dice": matched(dice),
        "hungarian-iou": 1 - matched(iou[0]),
        "rectangular-iou": 1 - _paired(iou[0]),
        "dice-match": 1 - _paired(dice),
        "dice-max": (1 - dice).max(0).mean(),
        "brier": np.mean([((p[k] - q[k]) ** 2).mean() for k in foreground]),
        "ece": np.mean([_ece(p[k].ravel(), q[k].ravel()) for k in foreground]),
        "threshold-dice": np.mean(
            [1 - _dice_of(p[k] >= t, q[k] >= t) for k in foreground for t in LEVELS]
        ),
        "volume-crps": np.mean([_crps(samples == k, annotations == k) for k in foreground]),
        "empty-share": np.mean([not one.any() for one in samples]),
        "annotator-empty-share": np.mean([not one.any() for one in annotations]),
        "aurc": _aurc(p, q),
    }


def _sides(samples, annotations):
    return [(samples, annotations), (samples, samples), (annotations, annotations)]


def _means(maps, classes):
    return np.array([(maps == k).sum(0) / len(maps) for k in range(classes)])


def _costs(left, right, cost, classes):
    return np.array([[cost(one, other, classes) for other in right] for one in left])


def _iou(one, other, classes):
    return np.mean([_iou_of(one == k, other == k) for k in range(1, classes)])


def _iou_of(one, other):
    union = (one | other).sum()
    return 1 - (one & other).sum() / union if union else 0.0


def _dice(one, other, classes):
    return np.mean([_dice_of(one == k, other == k) for k in range(1, classes)])


def _dice_of(one, other):
    size = one.sum() + other.sum()
    return 1 - 2 * (one & other).sum() / size if size else 0.0


def matched(cost):
    """Return the mean cost of an optimal coupling: both sides are repeated to one number."""
    times = [lcm(*cost.shape) // size for size in cost.shape]
    return _paired(cost.repeat(times[0], 0).repeat(times[1], 1))


def _paired(cost):
    return cost[linear_sum_assignment(cost)].mean()


def _ece(p, q):
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    return sum(abs((p - q)[which == b].sum()) for b in range(BINS)) / len(p)


def _crps(samples, annotations):
    sizes, drawn = samples.sum((1, 2)), annotations.sum((1, 2))
    spread = abs(sizes[:, None] - sizes).mean() / 2
    return np.mean([abs(sizes - one).mean() - spread for one in drawn])


def _aurc(p, q):
    predicted = p.argmax(0)
    errors = 1 - np.take_along_axis(q, predicted[None], 0)[0].ravel()
    logarithms = np.log(p, where=p > 0, out=np.zeros_like(p))
    entropy = -(p * logarithms).sum(0).round(9).ravel() + 0.0
    expected = np.array([errors[entropy == value].mean() for value in entropy])
    risks = expected[entropy.argsort(kind="stable")]
    return (risks.cumsum() / np.arange(1, len(risks) + 1)).mean()
