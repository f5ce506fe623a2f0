"""The energy score: how near samples are to annotations, less how near they are to each other."""

from __future__ import annotations

from torch import Tensor

from probseg.set_losses import jaccard


class Energy:
    r"""The energy score of a set of samples, a proper rule, under the soft Jaccard distance.

    .. math:: \frac{1}{SA} \sum_{s,a} d(\hat y_s, y_a)
        - \frac{1}{2 S (S - 1)} \sum_{s \ne s'} d(\hat y_s, \hat y_{s'})

    Twice this, less the annotators' distances from each other, is the generalised energy distance
    of soft masks.

    References:
        Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal
        of the American Statistical Association 102(477), 2007, eq. (22).
    """

    def __call__(self, samples: Tensor, masks: Tensor) -> Tensor:
        """Return the score (B,) of probabilities (S, B, K, H, W) and masks (B, A, H, W).

        The masks are of the classes, -100 where an annotator did not label.
        """
        distances, weights = jaccard.to_annotations(samples, masks)
        fit = (distances.mean(1) * weights).sum(1)
        count = len(samples)
        if count == 1:
            return fit
        spread = jaccard.to_each_other(samples, masks).sum((1, 2)) / (count * (count - 1))
        return fit - spread * weights.sum(1).sign() / 2
