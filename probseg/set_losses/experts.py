"""The mass of samples that a mixture's experts drew, each as many as the others."""

from __future__ import annotations

from torch import Tensor

from probseg.errors import InputError


def expert_weights(weights: Tensor | None, samples: Tensor) -> Tensor:
    """Return the weights (G, B) of the experts of samples (S, B, K, H, W); of one if None.

    Raises:
        InputError: They are not of these images, or no equal number of samples is each expert's.
    """
    count, batch = samples.shape[:2]
    if weights is None:
        return samples.new_ones(1, batch)
    if weights.ndim != 2 or weights.shape[1] != batch or not _divides(len(weights), count):
        raise InputError(
            f"the weights of experts must be (G, {batch}), where G divides the {count} samples, "
            f"not {tuple(weights.shape)}; without experts leave them out"
        )
    return weights


def sample_masses(weights: Tensor, count: int) -> Tensor:
    """Return the mass (B, S) of each of S samples, of experts with the weights (G, B)."""
    of_each = count // len(weights)
    return (weights.mT / of_each).repeat_interleave(of_each, dim=1, output_size=count)


def _divides(part: int, whole: int) -> bool:
    return part > 0 and whole % part == 0
