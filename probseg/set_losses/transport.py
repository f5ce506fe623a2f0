"""Optimal transport between samples and annotations, in the space of segmentations."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from probseg.set_losses import jaccard
from probseg.set_losses.experts import expert_weights, sample_masses


class ExactOT:
    r"""Exact optimal transport between samples and annotations, under the soft Jaccard distance.

    .. math:: \min_\gamma \sum_{sa} \gamma_{sa} d(\hat y_s, y_a)

    where every sample has the mass 1 / S, or its share of its expert's weight, and every annotation
    of an image the same. POT solves it on the CPU, which each step of a training on an accelerator
    waits for.

    References:
        Flamary et al., "POT: Python Optimal Transport", JMLR 2021; as a loss of segmentations Gao
        et al., "Modeling Multimodal Aleatoric Uncertainty in Segmentation with Mixture of
        Stochastic Experts", ICLR 2023.
    """

    def __init__(self) -> None:
        self._solve = importlib.import_module("ot").emd2  # takes a second, so only here

    def __call__(self, samples: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the cost (B,) of probabilities (S, B, K, H, W) and masks (B, A, H, W).

        The masks are of the classes, -100 where an annotator did not label. ``weights`` (G, B) sum
        to one, of G experts that drew S / G samples each, one expert's after the other's.
        """
        experts = expert_weights(weights, samples)
        distances, annotators = jaccard.to_annotations(samples, masks)
        masses = sample_masses(experts, len(samples)).to(distances.dtype)
        costs = [
            self._solve(mass, there[there > 0], cost[:, there > 0])
            if bool(there.any() & cost.isfinite().all())
            else cost.sum() * 0  # NaN of costs for which POT has no solution
            for mass, there, cost in zip(masses, annotators, distances, strict=True)
        ]
        return torch.stack(costs)
