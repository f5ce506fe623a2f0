"""Maps of how uncertain samples are at each pixel, and how well they tell where errors are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import SharedEvaluation, shared
from probseg.metrics.intervals import Values
from probseg.metrics.mean_maps import mean_maps
from probseg.options import check_choice
from probseg.utils.devices import float64_chunks, to_float64

Uncertainty = Literal["entropy", "expected-entropy", "mutual-information", "variance"]
_DIGITS = 9  # of an uncertainty; beyond, those that are equal may differ by rounding


class UncertaintyMaps(NamedTuple):
    """Maps (B, H, W) of the samples p_n of an image, float64, in nats."""

    entropy: Tensor
    """Of the samples' mean: all that is uncertain."""
    expected_entropy: Tensor
    """The mean of the samples' entropies: what a sample itself leaves open. 0 for masks."""
    mutual_information: Tensor
    """Their difference: how samples differ."""
    variance: Tensor
    """``Σ_k Var p_k`` over the samples; no nats."""


def uncertainty_maps(evaluation: Evaluation) -> UncertaintyMaps:
    """Return the usual maps of uncertainty of an evaluation's samples.

    References:
        Depeweg et al., Decomposition of Uncertainty in Bayesian Deep Learning, 2018.
    """
    parts = []
    for (some,) in float64_chunks(SharedEvaluation.of(evaluation).probabilities):
        samples = some.double()
        mean = samples.mean(1)
        total, each = _entropy(mean), _entropy(samples).mean(1)
        variance = (samples - mean[:, None]).square().mean(1).sum(1)
        parts.append((total, each, (total - each).clamp(min=0), variance))
    return UncertaintyMaps(*map(torch.cat, zip(*parts, strict=True)))


def _entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy over classes, of (..., K, H, W)."""
    entropy: Tensor = torch.special.entr(probabilities).sum(-3)
    return entropy


@dataclass(frozen=True)
class AURC:
    """The area under the curve of risk over coverage, of an image's pixels, in [0, 1].

    The most probable class of the samples' mean predicts each pixel. Its error is the share of the
    annotators who gave another class. The pixels are taken from the most to the least certain; the
    risk of the first of them is their mean error, and the area is its mean over all numbers of
    pixels. It is low where errors are few and lie where the samples are uncertain. Pixels of equal
    uncertainty are in random order, of which the expectation is returned; pixels that nobody
    labelled are left out.

    Args:
        uncertainty: What is uncertain, see :class:`UncertaintyMaps`.

    Raises:
        OptionError: There is no such map.

    References:
        Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural
        Classifiers, 2019.
        Jaeger et al., A Call to Reflect on Evaluation Practices for Failure Detection, 2023.
    """

    uncertainty: Uncertainty = "entropy"
    higher_is_better = False

    def __post_init__(self) -> None:
        check_choice("uncertainty", self.uncertainty, get_args(Uncertainty))

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the area of each image, (B,)."""
        means = shared(evaluation, mean_maps)
        maps: Tensor = getattr(
            shared(evaluation, uncertainty_maps), self.uncertainty.replace("-", "_")
        )
        predicted = means.samples.argmax(1, keepdim=True)
        errors = 1 - means.annotators.gather(1, predicted)[:, 0]
        sides = zip(maps, errors, means.labelled, strict=True)
        return torch.stack(
            [risk_coverage(u[here].round(decimals=_DIGITS), e[here]).mean() for u, e, here in sides]
        )


def risk_coverage(uncertainty: Tensor | Values, risk: Tensor | Values) -> Tensor:
    """Return the mean risk of the 1, 2, … N most certain of N things.

    The mean of these numbers is the area under the curve, AURC. The things may be pixels, or
    images, whose risk and uncertainty are scores, such as ``1 - scores["dice-max"]`` and
    ``scores["diversity"]``.

    Args:
        uncertainty: (N,), from which the order follows; equal ones have their mean risk.
        risk: (N,).

    Returns:
        (N,) float64, for the coverages 1 / N, 2 / N, … 1.

    Raises:
        InputError: They are no two lists of as many numbers, or hold NaN.

    >>> risk_coverage(torch.tensor([0.2, 0.1, 0.1]), torch.tensor([1.0, 0.0, 0.5])).tolist()
    [0.25, 0.25, 0.5]
    """
    uncertainty, risk = (to_float64(torch.as_tensor(side)) for side in (uncertainty, risk))
    if uncertainty.ndim != 1 or uncertainty.shape != risk.shape or not len(risk):
        shapes = " and ".join(str(tuple(side.shape)) for side in (uncertainty, risk))
        raise InputError(f"uncertainty and risk must be two lists of as many numbers, not {shapes}")
    if bool((uncertainty + risk).isnan().any()):
        raise InputError("uncertainty or risk holds NaN; leave out what has no value")
    ordered, order = uncertainty.sort(stable=True)
    _, member, size = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    last = size.cumsum(0)
    total = functional.pad(risk[order].cumsum(0), (1, 0))
    expected = (total[last] - total[last - size]) / size  # of things of equal uncertainty
    means: Tensor = expected[member].cumsum(0) / torch.arange(
        1, len(risk) + 1, dtype=risk.dtype, device=risk.device
    )
    return means


def aurc_expected_entropy() -> AURC:
    """Return the area where the samples' mean entropy orders the pixels."""
    return AURC("expected-entropy")


def aurc_mutual_information() -> AURC:
    """Return the area where the differences between samples order the pixels, as information."""
    return AURC("mutual-information")


def aurc_variance() -> AURC:
    """Return the area where the samples' variance orders the pixels."""
    return AURC("variance")
