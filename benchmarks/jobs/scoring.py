"""Scoring: every metric of every test image, batch by batch, and the pictures on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

import probseg
from benchmarks.jobs.pictures import Picture
from probseg.errors import InputError
from probseg.interfaces import Batch, Dataset, Evaluation, Metric
from probseg.metrics.evaluation import SharedEvaluation
from probseg.metrics.model_evaluation import batches
from probseg.utils.devices import to_float64

# Variant ("base", or "projected" prior) to the evaluations whose scores are averaged.
Answers = Mapping[str, Sequence[Evaluation]]
Predictor = Callable[[Batch, int], Answers]  # a batch and the index of its first image
Scores = dict[str, dict[str, list[float]]]  # variant to metric to one value an image

QUANTILES = (0.95, 0.8, 0.65, 0.5)  # of the disagreement: from much to the median
SHOWN_SAMPLES = 8
OF_SAMPLES = (
    *("w-iou", "w-dice", "w-hausdorff", "w-cross-entropy", "hungarian-iou"),
    *("ged", "ged-cross", "diversity", "annotator-diversity", "ncc"),
)
OF_LATENTS = ("gini", "effective-rank", "latent-kl")


def metrics(*, latent: bool) -> dict[str, Metric]:
    """Return the metrics of the benchmark, those of a latent space if there is one."""
    chosen = {name: probseg.metrics.create(name) for name in OF_SAMPLES}
    if latent:
        chosen |= {name: probseg.metrics.create(name) for name in OF_LATENTS}
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
        return to_float64(evaluation.prior.stddev).mean(-1)


def score_dataset(
    predict: Predictor,
    dataset: Dataset,
    *,
    batch: int,
    watch: Callable[[int, Batch, Answers], None] = lambda start, batch, answers: None,
) -> Scores:
    """Return the scores of every image; ``watch`` sees each batch and the index of its first one.

    Samples are seeded by batch, so the size of a batch belongs to the config.
    """
    scores: Scores = {}
    for start, images in batches(dataset, batch):
        answers = predict(images, start)
        for variant, evaluations in answers.items():
            kept = scores.setdefault(variant, {})
            for name, value in score(evaluations).items():
                kept.setdefault(name, []).extend(value.tolist())
        watch(start, images, answers)
    return scores


def score(evaluations: Sequence[Evaluation]) -> dict[str, Tensor]:
    """Return each metric's value per image (B,), averaged over the evaluations.

    It is NaN where the metric refuses the densities, as the Gini index does for a Student-t.
    """
    chosen = metrics(latent=evaluations[0].prior is not None)
    shared = [SharedEvaluation.of(evaluation) for evaluation in evaluations]
    return {
        name: torch.stack([_value(metric, one) for one in shared]).mean(0)
        for name, metric in chosen.items()
    }


@torch.no_grad()
def _value(metric: Metric, evaluation: Evaluation) -> Tensor:
    try:
        return metric(evaluation)
    except InputError:
        return torch.full((len(evaluation.annotations),), torch.nan, dtype=torch.float64)


@dataclass(frozen=True)
class PictureRecorder:
    """Keeps segmentations, mean and standard deviation of chosen images."""

    indices: Sequence[int]  # into the test set
    pictures: dict[int, Picture] = field(default_factory=dict)  # what was kept, by index

    def watch(self, start: int, batch: Batch, answers: Answers) -> None:
        """Keep the chosen images of a batch that begins at ``start``."""
        probabilities = answers["base"][0].probabilities
        for index in self.indices:
            if start <= index < start + len(batch.image):
                image, masks = batch.image[index - start], batch.masks[index - start]
                self.pictures[index] = _picture(image, masks, probabilities[index - start])


def _picture(image: Tensor, masks: Tensor, probabilities: Tensor) -> Picture:
    foreground = 1 - probabilities[:, 0]
    return {
        "image": image.half().numpy(),
        "masks": masks.numpy(),
        "labels": probabilities[:SHOWN_SAMPLES].argmax(1).to(torch.uint8).cpu().numpy(),
        "mean": foreground.mean(0).half().cpu().numpy(),
        "sd": foreground.std(0, correction=0).half().cpu().numpy(),
    }


def choose_images(dataset: Dataset, quantiles: Sequence[float] = QUANTILES) -> list[int]:
    """Return the indices of images at given quantiles of the annotators' disagreement.

    The choice depends on the annotations alone, so every row shows the same images, and none is
    picked for its looks.
    """
    spread = torch.cat([_disagreement(batch.masks) for _, batch in batches(dataset, 64)])
    order = spread.argsort(stable=True).tolist()
    return list(dict.fromkeys(order[round(q * (len(order) - 1))] for q in quantiles))


def _disagreement(masks: Tensor) -> Tensor:
    """Return the annotators' variance per pixel over the mean area's square root, (B,)."""
    share = (masks > 0).float().mean(1)
    return (share * (1 - share)).sum((1, 2)) / share.sum((1, 2)).clamp(min=1).sqrt()
