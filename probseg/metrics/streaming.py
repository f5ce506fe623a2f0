"""Metrics as torchmetrics: they stream over batches and over processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
import torchmetrics
from torch import Tensor
from torch.distributions import Distribution

from probseg.interfaces import Evaluation, Metric
from probseg.metrics.precision import float64_device
from probseg.registry import registry


class StreamingMetric(torchmetrics.Metric):
    """The mean of a metric over all images seen, on every process.

    The sum of the scores is float64. Its bits are kept as an int64, which moves with the metric to
    any device, those without float64 (``"mps"``) among them, and which ``half()`` leaves alone.

    Args:
        metric: A registered name or a ready metric.
        **options: Of the registered metric.

    Raises:
        UnknownNameError: No metric is registered under that name.
        OptionError: It has no such option.

    >>> gini = StreamingMetric("gini", of="variance")
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self, metric: str | Metric, **options: Any) -> None:
        super().__init__()
        self.metric: Metric = (
            registry("metrics").create(metric, **options) if isinstance(metric, str) else metric
        )
        zero = torch.zeros((), dtype=torch.int64)  # of a float64 zero the bits, too
        self.add_state("total", zero, dist_reduce_fx=_sum_of_bits)
        self.add_state("count", zero.clone(), dist_reduce_fx="sum")

    # A constant of the class in torchmetrics; here one class serves every metric.
    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether the wrapped metric is better when higher."""
        return self.metric.higher_is_better

    def update(
        self,
        probabilities: Tensor,
        annotations: Tensor,
        prior: Distribution | None = None,
        posterior: Distribution | None = None,
    ) -> None:
        """Add a batch of images.

        Args:
            probabilities: Samples (B, N, K, H, W) that sum to one over K.
            annotations: Label maps (B, A, H, W), integer classes.
            prior: Axis-aligned Normal, batch (B,), event (L,), for latent metrics.
            posterior: The same given one annotation of each image, for ``latent-kl``.

        Raises:
            InputError: The tensors are not what they should be, or do not fit each other.
        """
        scores = self.metric(Evaluation(probabilities, annotations, prior, posterior))
        total = _number(self.total) + scores.sum().to(_number(self.total))
        self.total = total.view(torch.int64).to(self.total.device)
        self.count = self.count + scores.numel()

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Change nothing: the sum stays float64, and its bits are no number to convert."""
        return self

    def compute(self) -> Tensor:
        """Return the mean over images, a float64 scalar; NaN before the first batch."""
        total = _number(self.total)
        return total / self.count.to(total.device)


def _number(bits: Tensor) -> Tensor:
    """Return the float64 that an int64 has the bits of, where float64 can be."""
    return bits.to(float64_device(bits.device)).view(torch.float64)


def _sum_of_bits(parts: Tensor) -> Tensor:
    """Return the bits of the sum of several numbers' bits, (P,), as processes bring them."""
    return _number(parts).sum().view(torch.int64).to(parts.device)


def streaming_collection(names: Iterable[str], **options: Any) -> torchmetrics.MetricCollection:
    """Return the metrics of these names as one torchmetrics collection.

    Each updates by itself; where speed matters more than streaming,
    :func:`probseg.metrics.evaluation.evaluate` computes shared costs once.

    Args:
        names: Registered names, whose options are left at their defaults.
        **options: Of the collection, such as ``prefix="val/"``.

    Raises:
        UnknownNameError: No metric is registered under a name.
    """
    # Compute groups merge metrics whose sums are equal after the first batch, as those of two
    # perfect scores are, and would from then on report one for the other.
    return torchmetrics.MetricCollection(
        {name: StreamingMetric(name) for name in names}, compute_groups=False, **options
    )
