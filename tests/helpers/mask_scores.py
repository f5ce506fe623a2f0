"""Scores of masks of two classes, computed by NumPy and SciPy alone, as the papers define them."""

import numpy as np
from class_scores import class_scores, matched
from scipy.ndimage import distance_transform_edt

_GENERAL = ("ged", "hungarian-iou", "w-iou", "w-dice", "diversity", "annotator-diversity")
SURPRISAL = 23 * np.log(2)  # nats, of a class with no probability: it is raised to 2⁻²³


def mask_scores(samples, annotations):
    """Return each metric's value on an image, from masks (N, H, W) and (A, H, W)."""
    samples, annotations = samples.astype(bool), annotations.astype(bool)
    pairs = {
        "hausdorff": _hausdorff(samples, annotations),
        "cross-entropy": _costs(samples, annotations, _cross_entropy),
    }
    general = class_scores(samples, annotations, 2)
    of_masks = {f"w-{name}": matched(cost) for name, cost in pairs.items()}
    return (
        {name: general[name] for name in _GENERAL} | of_masks | {"ncc": _ncc(samples, annotations)}
    )


def _costs(left, right, cost):
    return np.array([[cost(one, other) for other in right] for one in left])


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
