"""The energy score: how near samples are to annotations, less how near they are to each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probseg.set_losses import jaccard
from probseg.set_losses.experts import expert_weights, sample_masses


@dataclass(frozen=True)
class Energy:
    r"""The energy score of a set of samples, a proper rule, under the soft Jaccard distance.

    .. math:: \frac{1}{SA} \sum_{s,a} d(\hat y_s, y_a)
        - \frac{1}{2 S (S - 1)} \sum_{s \ne s'} d(\hat y_s, \hat y_{s'})

    Twice this, less the annotators' distances from each other, is the generalised energy distance
    of soft masks. The S - 1 is for independent samples. Stratified ones share out the density, and
    the mean is taken over all S^2 pairs, as the metric GED takes it.

    Of a mixture's experts each mean over pairs is that of the pairs of two experts, times both
    weights, so that the score is unbiased if an expert drew two independent samples or more. A
    single sample is taken for all that its expert draws.

    Args:
        stratified: Whether the samples are stratified; a model that draws them gives this. Those of
            several experts are taken for independent.

    References:
        Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal
        of the American Statistical Association 102(477), 2007, eq. (22).
    """

    stratified: bool = False

    def __call__(self, samples: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the score (B,) of probabilities (S, B, K, H, W) and masks (B, A, H, W).

        The masks are of the classes, -100 where an annotator did not label. ``weights`` (G, B) sum
        to one, of G experts that drew S / G samples each, one expert's after the other's.
        """
        distances, annotators = jaccard.to_annotations(samples, masks)
        experts = expert_weights(weights, samples).to(distances.dtype)
        fit = torch.einsum(
            "bs,bsa,ba->b", sample_masses(experts, len(samples)), distances, annotators
        )
        apart = self._between_experts(jaccard.to_each_other(samples, masks), len(experts))
        spread = torch.einsum("gb,bgh,hb->b", experts, apart, experts)
        score: Tensor = fit - spread / 2
        return score

    def _between_experts(self, apart: Tensor, experts: int) -> Tensor:
        """Return the mean distances (B, G, G) of pairs of samples (B, S, S) of G experts."""
        each = apart.shape[1] // experts
        total = apart.unflatten(2, (experts, each)).unflatten(1, (experts, each)).sum((2, 4))
        same = 0 if self.stratified and experts == 1 else each
        pairs = each**2 - same * torch.eye(experts, device=apart.device, dtype=apart.dtype)
        mean: Tensor = total / pairs.clamp_min(1)
        return mean
