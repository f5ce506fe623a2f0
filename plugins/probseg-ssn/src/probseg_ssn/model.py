"""Stochastic Segmentation Networks: all ambiguity lies in a Gaussian over the logits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Size, Tensor, nn

from probseg.backbones.blocks import set_class_prior
from probseg.errors import OptionError
from probseg.interfaces import Backbone
from probseg.models.base import ProbabilisticModel
from probseg.models.cross_entropy import cross_entropies
from probseg.options import check_integer, check_number
from probseg.registry.specs import Part, build_part
from probseg.utils.tensors import probabilities
from probseg_ssn.density import LowRankLogits

_INITIAL_FACTOR = 0.1  # times the usual initial weights, for the covariance
_INITIAL_LOG_SCALE = -2.0


class StochasticSegmentationNetwork(ProbabilisticModel):
    r"""A backbone, and three 1x1 convolutions that give mean and covariance of the logits.

    .. math:: p(y | x) = E_{\eta \sim N(\mu(x), F(x) F(x)^\top + D(x))} \prod_i p(y_i | \eta_i)

    The logarithm of the diagonal's scale is bounded smoothly, so that it cannot explode. Samples
    start near their mean, so that the mean is learnt first.

    Args:
        backbone: Turns images into features.
        spec: Plain data such that ``build(**spec)`` gives the same architecture.
    """

    def __init__(self, backbone: Backbone, *, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        self.rank: int = check_integer("rank", spec["rank"])
        self.samples: int = _checked_samples(spec["samples"])
        self.log_scale_bound: float = check_number("log_scale_bound", spec["log_scale_bound"])
        self.backbone = backbone
        self.mean = nn.Conv2d(backbone.out_channels, self.classes, 1)
        self.factor = nn.Conv2d(backbone.out_channels, self.classes * self.rank, 1)
        self.log_scale = nn.Conv2d(backbone.out_channels, self.classes, 1)
        _initialise(self.factor, bias=0.0)
        _initialise(self.log_scale, bias=_INITIAL_LOG_SCALE)
        if spec["class_prior"] is not None:
            set_class_prior(self.mean, spec["class_prior"])

    def terms(self, features: Tensor, label: Tensor) -> dict[str, Tensor]:
        r"""Return the negative log-likelihood, summed over pixels and averaged over the batch.

        .. math:: -\log \frac{1}{S} \sum_s \exp \sum_i \log p(y_i | \eta^{(s)}_i)

        Half of the S samples mirror the other half about the mean, as in the authors' code.
        """
        density = self.logits(features)
        deviations = density.deviations(Size([self.samples // 2]))
        logits = density.mean + torch.cat([deviations, -deviations])
        log_likelihood = _log_likelihoods(logits, label).logsumexp(0) - math.log(self.samples)
        return {"negative_log_likelihood": -log_likelihood.mean()}

    def draw(self, features: Tensor, n: int) -> Tensor:
        """Return n segmentations (n, B, K, H, W)."""
        return probabilities(self.logits(features).rsample((n,)))

    def logits(self, features: Tensor) -> LowRankLogits:
        """Return the density of the logits given features; batch (B,), event (K, H, W)."""
        mean, factor, raw = (head(features) for head in (self.mean, self.factor, self.log_scale))
        log_scale = self.log_scale_bound * torch.tanh(raw / self.log_scale_bound)
        return LowRankLogits(mean, factor.unflatten(1, (self.rank, -1)), log_scale.exp())


def ssn(
    *,
    in_channels: int = 1,
    classes: int = 2,
    backbone: Part = "unet",
    rank: int = 10,
    samples: int = 20,
    log_scale_bound: float = 5.0,
    class_prior: list[float] | None = None,
) -> StochasticSegmentationNetwork:
    """Build a Stochastic Segmentation Network: a low-rank Gaussian over the logits.

    Args:
        in_channels: C.
        classes: K.
        backbone: A name, a mapping or a ready object.
        rank: Of the covariance.
        samples: Monte Carlo samples of the loss, an even number.
        log_scale_bound: Largest absolute value of the logarithm of the diagonal's scale.
        class_prior: K frequencies whose logarithm is the initial bias of the mean.

    Raises:
        UnknownNameError: No backbone has that name.
        OptionError: An option is of the wrong type or out of range.

    References:
        Monteiro et al., "Stochastic Segmentation Networks: Modelling Spatially Correlated Aleatoric
        Uncertainty", NeurIPS 2020; rank and samples as in the authors' configuration.
    """
    check_integer("in_channels", in_channels)
    built = build_part("backbones", backbone, Backbone, in_channels=in_channels)
    spec = {
        "name": "ssn",
        "in_channels": in_channels,
        "classes": classes,
        "backbone": built.spec,
        "rank": rank,
        "samples": samples,
        "log_scale_bound": log_scale_bound,
        "class_prior": None if class_prior is None else list(class_prior),
    }
    return StochasticSegmentationNetwork(built.part, spec=spec)


def _initialise(layer: nn.Conv2d, *, bias: float) -> None:
    with torch.no_grad():
        layer.weight.mul_(_INITIAL_FACTOR)
        assert layer.bias is not None
        layer.bias.fill_(bias)


def _log_likelihoods(logits: Tensor, label: Tensor) -> Tensor:
    """Return log p(label | logits), summed over pixels, (S, B), of logits (S, B, K, H, W)."""
    labels = label.expand(len(logits), *label.shape).flatten(0, 1)
    per_pixel = cross_entropies(logits.flatten(0, 1), labels)
    return -per_pixel.sum(dim=(1, 2)).view(logits.shape[:2])


def _checked_samples(samples: int) -> int:
    if check_integer("samples", samples, low=2) % 2:
        raise OptionError(f"samples must be even, as half of them mirror the rest, not {samples}")
    return samples
