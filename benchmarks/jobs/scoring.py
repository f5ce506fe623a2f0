"""Scoring a test set: the metrics of the benchmark, and the pictures on the way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

import probseg
from benchmarks.jobs.pictures import UNLABELLED, Picture
from benchmarks.jobs.predictors import TooFewAnnotatorsError
from benchmarks.jobs.results import VariantScores
from probseg.errors import InputError
from probseg.interfaces import Batch, Dataset, Evaluation, Metric
from probseg.metrics.latent import scale_of
from probseg.metrics.model_evaluation import Predictions, Predictor, batches, collect_scores
from probseg.metrics.score_collector import choose_metrics
from probseg.utils.devices import to_float64

logger = logging.getLogger(__name__)

QUANTILES = (0.95, 0.8, 0.65, 0.5)  # of the disagreement: from much to the median
SHOWN_SAMPLES = 8
OF_SAMPLES = (
    *("w-iou", "w-dice", "w-hausdorff", "w-cross-entropy", "hungarian-iou"),
    *("ged", "ged-cross", "diversity", "annotator-diversity", "ncc"),
)
OF_LATENTS = ("gini", "effective-rank", "latent-kl")


def metrics(latent: bool) -> dict[str, Metric]:
    """Return the metrics of the benchmark, with those of a latent space if there is one."""
    chosen = choose_metrics(OF_SAMPLES + OF_LATENTS * latent, latent=latent)
    if latent:
        chosen["gini-variance"] = probseg.metrics.create("gini", of="variance")
        chosen["prior-scale"] = PriorScale()
    return chosen


@dataclass(frozen=True)
class PriorScale:
    """The prior's standard deviation, averaged over latent dimensions."""

    higher_is_better = True  # it shrinks where the latents go unused

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the scale of each image's prior, (B,)."""
        if evaluation.prior is None:
            raise InputError("the evaluation has no prior, so it has no scale")
        scale = scale_of(evaluation.prior)
        if scale is None:
            raise InputError("the prior's class defines no stddev, so it has no scale")
        return to_float64(scale).mean(-1)


def score_dataset(predict: Predictor, dataset: Dataset, *, batch: int) -> VariantScores:
    """Return the scores of every image, undefined where annotators cannot be compared.

    Samples are seeded by batch, so the size of a batch belongs to the config.
    """

    def predicted(batch: Batch, start: int) -> Predictions:
        try:
            return predict(batch, start)
        except TooFewAnnotatorsError:
            return {"base": []}

    collected = collect_scores(predicted, dataset, metrics, batch_size=batch, progress=False)
    for variant, scores in collected.items():
        for name, problem in scores.problems.items():
            logger.warning("%s of %s has no value on some images: %s", name, variant, problem)
    return {
        variant: {name: values.tolist() for name, values in scores.values().items()}
        for variant, scores in collected.items()
    }


@dataclass(frozen=True)
class PictureRecorder:
    """Keeps segmentations, mean and standard deviation of chosen images."""

    indices: Sequence[int]  # into the test set
    pictures: dict[int, Picture] = field(default_factory=dict)  # what was kept, by index

    def recording(self, predict: Predictor) -> Predictor:
        """Return a predictor that keeps the chosen images of what it predicts."""

        def recorded(batch: Batch, start: int) -> Predictions:
            predictions = predict(batch, start)
            self._keep(batch, start, predictions["base"][0].probabilities)
            return predictions

        return recorded

    def _keep(self, batch: Batch, start: int, probabilities: Tensor) -> None:
        for index in self.indices:
            if start <= index < start + len(batch.image):
                image, masks = batch.image[index - start], batch.masks[index - start]
                self.pictures[index] = _picture(image, masks, probabilities[index - start])


def _picture(image: Tensor, masks: Tensor, probabilities: Tensor) -> Picture:
    foreground, deviations = 1 - probabilities[:, 0], probabilities.std(0, correction=0)
    return {
        "image": image.half().numpy(),
        "masks": masks.where(masks < probabilities.shape[1], UNLABELLED).numpy(),
        "labels": probabilities[:SHOWN_SAMPLES].argmax(1).to(torch.uint8).cpu().numpy(),
        "mean": foreground.mean(0).half().cpu().numpy(),
        "sd": (deviations.square().sum(0) / 2).sqrt().half().cpu().numpy(),  # plots.spread
    }


def choose_images(dataset: Dataset, quantiles: Sequence[float] = QUANTILES) -> list[int]:
    """Return the indices of images at given quantiles of the annotators' disagreement.

    The choice depends on the annotations alone, so every row shows the same images, and none is
    picked for its looks.
    """
    masks = (batch.masks for _, batch in batches(dataset, 64))
    spread = torch.cat([_disagreement(some.where(some < dataset.classes, 0)) for some in masks])
    order = spread.argsort(stable=True).tolist()
    return list(dict.fromkeys(order[round(q * (len(order) - 1))] for q in quantiles))


def _disagreement(masks: Tensor) -> Tensor:
    """Return the annotators' variance per pixel over the mean area's square root, (B,)."""
    share = (masks > 0).float().mean(1)
    return (share * (1 - share)).sum((1, 2)) / share.sum((1, 2)).clamp(min=1).sqrt()
