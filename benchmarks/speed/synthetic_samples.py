"""Real annotations, and synthetic samples made of them, on which metrics are timed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from torch import Tensor

from benchmarks.jobs.data import open_dataset, prepare
from benchmarks.suite.settings import DataSettings
from probseg.datasets.annotators import complete
from probseg.errors import MissingDataError
from probseg.interfaces import Dataset, Evaluation

SHIFT = 3  # pixels that a sample is moved by at most
EDGE, WAVES = 1.5, 4.0  # pixels: standard deviations of a sample's edge and its outline's waves
SHARPNESS = 12.0  # logits across an edge

Maps = NDArray[np.float32]  # (N, H, W)


def open_annotations(root: Path | None, *, small: bool = False) -> Dataset:
    """Return the test images of LIDC, or where it is missing of the embedded outlines.

    Args:
        root: Folder of the data.
        small: Return a few drawn shapes instead.
    """
    if small:
        return open_dataset("ambiguous-shapes", {"samples": 40})
    try:
        dataset = open_dataset("lidc", root=root)
    except MissingDataError:
        dataset = open_dataset("contours", root=root)
    return prepare(dataset, DataSettings(), fold=None).test


def evaluations(dataset: Dataset, images: int, *, size: int, samples: int) -> Iterator[Evaluation]:
    """Yield batches of a data set's first images with samples of their annotations.

    A sample is one annotator's mask, moved and with another outline, as probabilities. Its size and
    variety, and how often it is empty, resemble those of a trained model's samples on LIDC.

    Args:
        dataset: The annotations.
        images: Number of images.
        size: Images in a batch.
        samples: N.
    """
    random = np.random.default_rng(0)
    for start in range(0, images, size):
        batch = dataset.__getitems__(range(start, min(start + size, images)))
        for part in complete(batch):
            drawn = [_samples(masks, samples, random) for masks in part.masks.numpy()]
            yield Evaluation(_two_classes(np.stack(drawn)), part.masks)


def _samples(masks: NDArray[np.uint8], count: int, random: np.random.Generator) -> Maps:
    authors = random.integers(len(masks), size=count)
    moves = random.integers(-SHIFT, SHIFT + 1, size=(count, 2))
    moved = [shift(masks[a], by, order=0) for a, by in zip(authors, moves, strict=True)]
    soft = gaussian_filter(np.stack(moved).astype(np.float32), (0, EDGE, EDGE))
    noise = random.standard_normal(soft.shape).astype(np.float32)
    waves = gaussian_filter(noise, (0, WAVES, WAVES))
    logits: Maps = SHARPNESS * (soft - 0.5) + waves / waves.std()
    return logits


def _two_classes(logits: Maps) -> Tensor:
    foreground = torch.from_numpy(logits).sigmoid()
    return torch.stack([1 - foreground, foreground], dim=2)
