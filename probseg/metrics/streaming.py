"""Metrics as torchmetrics: they stream over batches and over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn
from torch.distributions import Distribution

from probseg.interfaces import Evaluation, Metric
from probseg.metrics.precision import float64_device
from probseg.registry import registry


class StreamingMetric(torchmetrics.Metric):
    """The mean of a metric over all images seen, on every process.

    Its sums are float64. They move with it as any metric's do, save to a device that has no
    float64 (``.to("mps")``): from there they stay on the CPU, and images may come from anywhere.

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
        device = float64_device(torch.get_default_device())
        for name, dtype in (("total", torch.float64), ("count", torch.int64)):
            zero = torch.zeros((), dtype=dtype, device=device)
            self.add_state(name, zero, dist_reduce_fx="sum")

    # A constant of the class in torchmetrics; here one class serves every metric.
    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether the wrapped metric is better when higher."""
        return self.metric.higher_is_better

    def _apply(self, fn: Callable[[Tensor], Tensor], *more: Any, **known: Any) -> nn.Module:
        """Move the sums by ``fn``, or to the CPU where that would have no float64."""

        @wraps(fn)  # by whose name torchmetrics knows what converts, as .half() does
        def move(tensor: Tensor) -> Tensor:
            target = fn(tensor.float()).device
            return fn(tensor) if float64_device(target) == target else tensor.cpu()

        return super()._apply(move, *more, **known)

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
        self.total = self.total + scores.sum().to(self.total)
        self.count = self.count + scores.numel()

    def compute(self) -> Tensor:
        """Return the mean over images, a float64 scalar; NaN before the first batch."""
        return self.total / self.count


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
