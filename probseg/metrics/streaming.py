"""Metrics as torchmetrics, which accumulate over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
import torchmetrics
from torch import Tensor
from torch.distributions import Distribution

from probseg.interfaces import Evaluation, Metric
from probseg.registry import registry
from probseg.utils.devices import float64_device


class StreamingMetric(torchmetrics.Metric):
    """The mean of a metric over all images seen, on every process.

    The sum of the scores is float64. Its bits are stored as an int64, which moves with the metric
    to any device, also one without float64 (``"mps"``), and which ``half()`` does not change.

    Args:
        metric: A registered name or a metric.
        **options: Options of the registered metric.

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
        zero = torch.zeros((), dtype=torch.int64)  # also the bits of a float64 zero
        self.add_state("total", zero, dist_reduce_fx=_sum_of_bits)
        self.add_state("count", zero.clone(), dist_reduce_fx="sum")

    # One class serves every metric here.
    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]  # torchmetrics' constant
        """Whether the wrapped metric is better when higher."""
        return self.metric.higher_is_better

    def update(
        self,
        probabilities: Tensor,
        annotations: Tensor,
        prior: Distribution | None = None,
        posterior: Distribution | None = None,
        classes: int = 2,
        ignore_index: int | None = None,
        spacing: Tensor | None = None,
    ) -> None:
        """Add a batch of images.

        Args:
            probabilities: Samples (B, N, K, H, W) that sum to one over K, or label maps
                (B, N, H, W), integer classes.
            annotations: Label maps (B, A, H, W), integer classes.
            prior: Axis-aligned Normal, batch (B,), event (L,), for latent metrics.
            posterior: The same given one annotation of each image, for ``latent-kl``.
            classes: K of label maps.
            ignore_index: The value of annotations' pixels that nobody labelled.
            spacing: (B, 2) mm between rows and between columns, for metrics in mm.

        Raises:
            InputError: The tensors are not as the arguments say, or do not fit each other.
        """
        evaluation = Evaluation(
            *(probabilities, annotations, prior, posterior),
            classes=classes,
            ignore_index=ignore_index,
            spacing=spacing,
        )
        scores = self.metric(evaluation)
        total = _from_bits(self.total) + scores.sum().to(_from_bits(self.total))
        self.total = total.view(torch.int64).to(self.total.device)
        self.count = self.count + scores.numel()

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Do nothing: the sum stays float64, and its bits must not be converted."""
        return self

    def compute(self) -> Tensor:
        """Return the mean over images, a float64 scalar; NaN before the first batch."""
        total = _from_bits(self.total)
        return total / self.count.to(total.device)


def _from_bits(bits: Tensor) -> Tensor:
    """Return the float64 with the bits of an int64, on a device that has float64."""
    return bits.to(float64_device(bits.device)).view(torch.float64)


def _sum_of_bits(numbers: Tensor) -> Tensor:
    """Return the bits of the sum of numbers given as bits, (P,), one of each process."""
    return _from_bits(numbers).sum().view(torch.int64).to(numbers.device)


def streaming_collection(names: Iterable[str], **options: Any) -> torchmetrics.MetricCollection:
    """Return the metrics of these names as one torchmetrics collection.

    Each is updated separately; where speed matters more than accumulation,
    :func:`probseg.metrics.evaluation.compute_metrics` computes shared costs once.

    Args:
        names: Registered names; the metrics have their default options.
        **options: Options of the collection, such as ``prefix="val/"``.

    Raises:
        UnknownNameError: No metric is registered under a name.
    """
    # Compute groups merge metrics with equal sums after the first batch, such as two perfect
    # scores, and would report one for the other from then on.
    return torchmetrics.MetricCollection(
        {name: StreamingMetric(name) for name in names}, compute_groups=False, **options
    )
