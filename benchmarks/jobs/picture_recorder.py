"""The picture recorder: keeps every row's predictions of the same few test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.jobs.pictures import Picture
from benchmarks.jobs.scoring import Answers, batches
from probseg.interfaces import Batch, Dataset

QUANTILES = (0.95, 0.8, 0.65, 0.5)  # of the disagreement: from much to the median
SHOWN_SAMPLES = 8


@dataclass(frozen=True)
class PictureRecorder:
    """Keeps segmentations, mean and standard deviation of chosen images.

    Args:
        indices: Which images of the test set.
        pictures: What was kept, by index.
    """

    indices: Sequence[int]
    pictures: dict[int, Picture] = field(default_factory=dict)

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
