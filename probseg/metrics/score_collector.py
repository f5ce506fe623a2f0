"""Metrics by name, and their values collected batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from probseg.errors import MissingDensityError, ProbsegError
from probseg.interfaces import Evaluation, Metric
from probseg.metrics.evaluation import SharedEvaluation, checked_annotations, shared
from probseg.metrics.intervals import Values
from probseg.metrics.reliability import Reliability
from probseg.registry import registry

DEFAULT_METRICS = (
    *("ged", "hungarian-iou", "w-iou", "w-dice", "w-hausdorff", "w-cross-entropy"),
    *("diversity", "annotator-diversity", "ncc"),
)
LATENT_METRICS = ("gini", "effective-rank", "latent-kl")


def choose_metrics(
    metrics: Mapping[str, Metric] | Iterable[str] | None, *, latent: bool
) -> dict[str, Metric]:
    """Return metrics by name; None chooses the usual ones.

    Args:
        metrics: Names of registered metrics, or metrics by any name.
        latent: Whether the usual ones are to include those of a latent space.

    Raises:
        UnknownNameError: No metric has that name.
    """
    if isinstance(metrics, Mapping):
        return dict(metrics)
    names = metrics or (*DEFAULT_METRICS, *(LATENT_METRICS if latent else ()))
    return {name: registry("metrics").create(name) for name in names}


class ScoreCollector:
    """The values of metrics, batch by batch, and why some are missing.

    Args:
        metrics: Name to metric.
        reliability: Whether to count as well what a reliability diagram shows.
    """

    def __init__(self, metrics: Mapping[str, Metric], *, reliability: bool = False) -> None:
        self.metrics = metrics
        self.reliability = Reliability.empty() if reliability else None
        self.problems: dict[str, str] = {}
        self._marked = self._missed = 0  # images that annotators mark; and no sample does
        self._images = self._single = 0  # images; and those with one annotation
        # numbers: small tensors, kept among large ones that are freed, would scatter the memory
        self._values: dict[str, list[float]] = {name: [] for name in metrics}

    @torch.no_grad()
    def add(self, *evaluations: Evaluation) -> None:
        """Score the images of a batch; several evaluations of them are averaged."""
        checked = [SharedEvaluation.of(evaluation) for evaluation in evaluations]
        images, annotators = checked[0].annotations.shape[:2]
        self._images += images
        self._single += images * (annotators == 1)
        marked = (shared(checked[0], checked_annotations).maps > 0).flatten(1).any(1)
        self._marked += int(marked.sum())
        self._missed += int((marked & ~(checked[0].labels > 0).flatten(1).any(1)).sum())
        if self.reliability is not None:
            self.reliability += Reliability.of(checked[0])
        for name, metric in self.metrics.items():
            try:
                value = torch.stack([metric(evaluation) for evaluation in checked]).mean(0)
                self._values[name] += value.reshape(images).tolist()
            except (MemoryError, torch.OutOfMemoryError):
                raise  # fewer images at a time would do
            except Exception as error:  # one metric, perhaps a plugin's, must not cost the others
                self.problems.setdefault(name, _reason(error, checked[0]))
                self._values[name] += [math.nan] * images

    def leave_out(self, images: int) -> None:
        """Give images of which nothing is predicted no value in any metric."""
        for values in self._values.values():
            values += [math.nan] * images

    def remarks(self) -> list[str]:
        """Return what to know before the values are believed."""
        remarks = []
        if 2 * self._missed > self._marked:
            remarks.append(
                f"no sample marks anything on {self._missed} of the {self._marked} images that "
                "annotators marked; these scores are those of empty masks"
            )
        if 2 * self._single > self._images:
            every = self._single == self._images
            which = "each image has" if every else f"{self._single} of {self._images} images have"
            remarks.append(
                f"{which} one annotation, which says nothing of how annotators differ: scores say "
                "how near samples come to it, not whether they vary as annotators would"
            )
        return remarks

    def values(self) -> dict[str, Values]:
        """Return each metric's value on each image (N,)."""
        return {name: np.array(values) for name, values in self._values.items()}


def _reason(error: Exception, evaluation: Evaluation) -> str:
    """Return why a metric has no value: what was not foreseen is told with its type."""
    if isinstance(error, MissingDensityError):
        lacking = "prior" if evaluation.prior is None else "posterior"
        return f"it needs a {lacking}, and this model has none"
    return str(error) if isinstance(error, ProbsegError) else f"{type(error).__name__}: {error}"
