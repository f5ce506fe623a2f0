"""Scores of masks of two classes, computed by NumPy and SciPy alone, as the papers define them."""

from math import lcm

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment

SURPRISAL = 23 * np.log(2)  # nats, of a class with no probability: it is raised to 2⁻²³


def mask_scores(samples, annotations):
    """Return each metric's value on an image, from masks (N, H, W) and (A, H, W)."""
    samples, annotations = samples.astype(bool), annotations.astype(bool)
    overlap = {
        "iou": _costs(samples, annotations, _iou),
        "dice": _costs(samples, annotations, _dice),
        "hausdorff": _hausdorff(samples, annotations),
        "cross-entropy": _costs(samples, annotations, _cross_entropy),
    }
    own = [_costs(side, side, _iou).mean() for side in (samples, annotations)]
    return {
        "ged": 2 * overlap["iou"].mean() - sum(own),
        "hungarian-iou": 1 - _matched(overlap["iou"]),
        **{f"w-{name}": _matched(cost) for name, cost in overlap.items()},
        "diversity": own[0],
        "annotator-diversity": own[1] if len(annotations) > 1 else np.nan,  # nothing is known
        "ncc": _ncc(samples, annotations),
    }


def _costs(left, right, cost):
    return np.array([[cost(one, other) for other in right] for one in left])


def _iou(one, other):
    union = (one | other).sum()
    return 1 - (one & other).sum() / union if union else 0.0


def _dice(one, other):
    size = one.sum() + other.sum()
    return 1 - 2 * (one & other).sum() / size if size else 0.0


def _cross_entropy(one, other):
    return (one != other).mean() * SURPRISAL


def _hausdorff(samples, annotations):
    """Distances between sets of pixels; the diagonal where just one is empty."""
    sides = [
        [(mask, distance_transform_edt(~mask)) for mask in side] for side in (samples, annotations)
    ]

    def cost(one, other):
        (mask, to_mask), (drawn, to_drawn) = one, other
        if mask.any() and drawn.any():
            return max(to_drawn[mask].max(), to_mask[drawn].max())
        return np.hypot(*mask.shape) * (mask.any() != drawn.any())

    return _costs(*sides, cost)


def _matched(cost):
    """Mean cost of an optimal coupling: both sides are repeated to one number."""
    count = lcm(*cost.shape)
    repeated = cost.repeat(count // cost.shape[0], 0).repeat(count // cost.shape[1], 1)
    return repeated[linear_sum_assignment(repeated)].mean()


def _ncc(samples, annotations):
    shares = np.array([(~samples).mean(0), samples.mean(0)])  # of each class
    surprisal = (1 - shares) * SURPRISAL
    uncertainty = (shares * surprisal).sum(0).ravel()
    errors = [np.where(mask, surprisal[1], surprisal[0]).ravel() for mask in annotations]
    return np.mean([_correlation(uncertainty, error) for error in errors])


def _correlation(one, other):
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return np.corrcoef(one, other)[0, 1]
