"""What is changed of a trained model's samples afterwards, so that they fit how annotators differ.

:func:`probseg.calibrate` chooses it on validation data; a model keeps it in its spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

from probseg.errors import InputError, OptionError
from probseg.options import check_number
from probseg.utils.tensors import in_single_precision, probabilities

_LARGEST = 1000.0
_LEAST = 1e-6  # probability
_OTHER = 2.0  # a temperature that tells whether samples depend on it


@dataclass(frozen=True)
class Calibration:
    """A temperature of the logits, and a scale of the prior; both 1 if nothing is changed.

    Args:
        temperature: The logits are divided by it. Above 1, probabilities are less certain. It does
            not change which class of a sample is the most probable.
        prior_scale: The standard deviation of the prior is multiplied by it. Above 1, samples
            differ more.

    Raises:
        OptionError: One of them is no number from 0.001 to 1000.

    References:
        Guo et al., On Calibration of Modern Neural Networks, 2017.
    """

    temperature: float = 1.0
    prior_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = check_number(name, value)
            if not 1 / _LARGEST <= number <= _LARGEST:
                raise OptionError(
                    f"{name} must be from {1 / _LARGEST:g} to {_LARGEST:g}: {value!r}"
                )
            object.__setattr__(self, name, number)

    @classmethod
    def of(cls, given: Calibration | Mapping[str, Any] | None) -> Calibration:
        """Return a calibration from plain data, or one that changes nothing.

        Raises:
            OptionError: It is none.
        """
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        names = tuple(asdict(cls()))
        if not isinstance(given, Mapping) or not given.keys() <= set(names):
            raise OptionError(
                f"calibration must be a mapping of {' and '.join(names)}, not {given!r}"
            )
        return cls(**given)

    def __str__(self) -> str:
        return f"temperature {self.temperature:g}, prior scale {self.prior_scale:g}"

    def to_plain(self) -> dict[str, float]:
        """Return both numbers by name."""
        return asdict(self)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the softmax over classes (..., K, H, W) of the logits over the temperature."""
        if self.temperature == 1:
            return probabilities(logits)
        return probabilities(in_single_precision(logits) / self.temperature)

    def of_probabilities(self, given: Tensor) -> Tensor:
        """Return the same, given the softmax (..., K, H, W) of the logits alone."""
        return given if self.temperature == 1 else self.probabilities(given.log())

    def scaled(self, prior: Distribution) -> Distribution:
        """Return a prior whose standard deviation is multiplied by the scale.

        Of a mixture that of each component is, and of a transformed density that of the base.

        Raises:
            InputError: It is no Normal, no mixture of them and no transformation of one.
        """
        return prior if self.prior_scale == 1 else _scaled(prior, self.prior_scale)


def calibration_of(model: Any) -> Calibration:
    """Return a model's calibration, or one that changes nothing if it has none."""
    given = getattr(model, "calibration", None)
    return given if isinstance(given, Calibration) else Calibration()


def samples_follow(model: Any, image: Tensor) -> bool:
    """Return whether a model's samples of an image (B, C, H, W) depend on its temperature."""
    before, drawn = model.calibration, []
    try:
        for temperature in (1.0, _OTHER):
            model.calibration = Calibration(temperature)
            generator = torch.Generator(image.device).manual_seed(0)
            drawn.append(model.sample(image, 2, generator=generator).float())
    finally:
        model.calibration = before
    likely = drawn[0].argmax(2, keepdim=True)
    told = drawn[0] >= _LEAST  # below it single precision does not tell the logits
    plain, calibrated = (_log_odds(one, likely)[told] for one in drawn)
    return torch.allclose(calibrated, plain / _OTHER, rtol=0.05, atol=1e-4, equal_nan=True)


def _log_odds(probabilities: Tensor, against: Tensor) -> Tensor:
    """Return log p_k − log p_j of the classes (n, B, K, H, W), with j (n, B, 1, H, W)."""
    logarithms = probabilities.log()
    return logarithms - logarithms.gather(2, against)


def _scaled(density: Distribution, scale: float) -> Distribution:
    match density:
        case Independent():
            base = _scaled(density.base_dist, scale)
            return Independent(base, density.reinterpreted_batch_ndims, validate_args=False)
        case TransformedDistribution():
            base = _scaled(density.base_dist, scale)
            return TransformedDistribution(base, density.transforms, validate_args=False)
        case MixtureSameFamily():
            component = _scaled(density.component_distribution, scale)
            weights = density.mixture_distribution
            return type(density)(weights, component, validate_args=False)
        case Normal():
            return Normal(density.loc, density.scale * scale, validate_args=False)
        case MultivariateNormal():
            factor = density.scale_tril * scale
            return MultivariateNormal(density.loc, scale_tril=factor, validate_args=False)
        case LowRankMultivariateNormal():
            shared, own = density.cov_factor * scale, density.cov_diag * scale**2
            return LowRankMultivariateNormal(density.loc, shared, own, validate_args=False)
    raise InputError(
        f"a prior of class {type(density).__name__} has no scale that could be multiplied; leave "
        "the scale at 1"
    )
