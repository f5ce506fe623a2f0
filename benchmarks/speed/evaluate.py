"""Metrics of 16 synthetic samples of an image and its four real annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from torch import Tensor

from benchmarks.jobs.data import open_dataset, prepare
from benchmarks.jobs.scoring import OF_SAMPLES
from benchmarks.speed import peer_metrics
from benchmarks.speed.comparison import (
    OURS,
    Candidate,
    Comparison,
    Disagreement,
    Floor,
    Settings,
    compare,
)
from benchmarks.speed.peer_metrics import DISTANCES, OVERLAPS, SURFACES, Pair
from benchmarks.speed.report import duration
from benchmarks.speed.workers import Workload
from benchmarks.suite.settings import DataSettings
from probseg.datasets.annotators import complete
from probseg.datasets.cache.source import chunked
from probseg.errors import MissingDataError
from probseg.interfaces import Dataset, Evaluation
from probseg.metrics.evaluation import SharedEvaluation, compute_metrics
from probseg.metrics.ged import generalised_energy_distance
from probseg.metrics.hausdorff import hausdorff_cost
from probseg.metrics.matching import hungarian_iou

Scores = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]
TOLERANCE = 1e-6  # single-precision peers
SURFACE_SHARE = 0.15  # of the pairs may differ where a peer measures surfaces
SAMPLES, BATCH = 16, 16
MANY = 100  # samples, of which 2026's papers give GED
MATCHED = ("ged", "hungarian-iou", "rectangular-iou")
OF_MANY = (*MATCHED, "ged16", "ged32", "brier", "ece", "ace", "threshold-dice")
ALL = 2800  # images of a test set of LIDC, about
SHIFT = 3  # pixels that a sample is moved by at most
EDGE, WAVES = 1.5, 4.0  # pixels: standard deviations of a sample's edge and its outline's waves
SHARPNESS = 12.0  # logits across an edge

Maps = NDArray[np.float32]  # (N, H, W)


class Task(NamedTuple):
    """A metric: how probseg computes it, and how others do, with a function of a pair of masks."""

    title: str
    ours: Callable[[Tensor, Tensor], Tensor]
    loop: Callable[[Pair], Callable[..., Any]]
    peers: dict[str, Callable[[], Pair]]
    aim: int  # times as fast as the fastest peer


TASKS = {
    "ged": Task(
        "Generalised energy distance",
        lambda samples, annotations: generalised_energy_distance(samples, annotations).squared,
        peer_metrics.energy,
        OVERLAPS,
        aim=60,
    ),
    "hungarian-iou": Task(
        "Hungarian-matched IoU", hungarian_iou, peer_metrics.matched, OVERLAPS, aim=8
    ),
    "hausdorff": Task(
        "Hausdorff distance of all pairs",
        hausdorff_cost,
        peer_metrics.hausdorff,
        DISTANCES,
        aim=30,
    ),
}


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the tables of this topic."""
    dataset = open_annotations(settings.data_root, small=settings.small)
    sizes = (2,) if settings.small else (BATCH, 1)
    for name in TASKS:
        for images in sizes:
            yield _with_peers(name, images, dataset, settings)
    yield _test_set(dataset, settings)
    yield _many_samples(dataset, settings)


def _with_peers(name: str, images: int, dataset: Dataset, settings: Settings) -> Comparison:
    task = TASKS[name]
    (evaluation,) = evaluations(dataset, images, size=images, samples=SAMPLES)
    options = {
        "name": name,
        "samples": SharedEvaluation.of(evaluation).labels.numpy(),
        "annotations": evaluation.annotations.numpy(),
    }
    ours = Candidate(name=OURS, make=BatchScores, options=options | {"device": settings.device})
    peers = [
        Candidate(
            name=peer,
            make=PairScores,
            options=options | {"peer": peer},
            agree=partial(agree, share=SURFACE_SHARE if peer in SURFACES else 0.0),
        )
        for peer in list(task.peers)[-1 if settings.small else 0 :]
    ]
    count = f"{images} image{'s' * (images > 1)}"
    comparison = compare(
        f"{task.title}: {count}, {SAMPLES} samples and {dataset.annotators} annotators each",
        [ours, *peers],
        settings,
        floor=_floor(settings, images * (SAMPLES + dataset.annotators) * _pixels(dataset)),
    )
    return replace(comparison, notes=_notes(comparison, task, images, dataset))


def _notes(comparison: Comparison, task: Task, images: int, dataset: Dataset) -> list[str]:
    first, *peers = comparison.rows
    notes = [
        f"Annotations: {dataset.name}, test images; samples: an annotator's mask, moved and bent."
    ]
    if peers:
        fastest = min(peers, key=lambda row: row.ratio)
        notes.append(
            f"An image takes {duration(first.median / images)}, with the fastest other "
            f"({fastest.name}) {duration(fastest.median / images)}: {fastest.ratio:.1f} times as "
            f"long (aim: {task.aim})."
        )
    if task.peers is DISTANCES:
        notes.append(
            f"{', '.join(SURFACES)} measure between surfaces, eq. (16) of docs/method.md between "
            "all foreground pixels, so that some distances differ. Pairs with an empty mask are "
            "not given to others, which raise or return inf, nan or 0."
        )
    return notes


def _floor(settings: Settings, bytes_read: int) -> Floor:
    rate = settings.machine.bandwidth
    return Floor(
        seconds=bytes_read / rate,
        why=f"{bytes_read / 1e6:.1f} MB read once at {rate / 1e9:.1f} GB/s",
    )


def _pixels(dataset: Dataset) -> int:
    return dataset[0].masks[0].numel()


def _test_set(dataset: Dataset, settings: Settings) -> Comparison:
    images = settings.size(256, 4)
    options = {
        "images": images,
        "root": settings.data_root,
        "small": settings.small,
        "device": settings.device,
    }
    comparison = compare(
        f"All {len(OF_SAMPLES)} metrics of {images} images, beyond the forward passes",
        [Candidate(name=OURS, make=TestSet, options=options)],
        settings,
        floor=_floor(settings, images * SAMPLES * 2 * 4 * _pixels(dataset)),
    )
    each = comparison.rows[0].median / images
    note = (
        f"Of {dataset.name}'s {len(dataset):,} test images, in batches of {BATCH}: "
        f"{duration(each)} an image, so {duration(ALL * each)} for {ALL:,} (aim: 60 s)."
    )
    return replace(comparison, notes=[note])


def _many_samples(dataset: Dataset, settings: Settings) -> Comparison:
    """Compare GED100, both HM-IoU and calibration with a loop over pairs, of the first two."""
    images = settings.size(32, 2)
    options: dict[str, Any] = {
        "images": images,
        "root": settings.data_root,
        "small": settings.small,
        "samples": settings.size(MANY, 4),
    }
    ours = Candidate(
        name=OURS, make=TestSet, options={**options, "names": OF_MANY, "device": settings.device}
    )
    loop = Candidate(
        name="public PU-Net code, without calibration",
        make=LoopOverPairs,
        options=options,
        agree=lambda ours, theirs: agree(ours[: len(MATCHED)], theirs, share=0.0),
    )
    comparison = compare(
        f"GED{MANY}, both HM-IoU and calibration of {images} images",
        [ours, loop],
        settings,
        floor=_floor(settings, images * MANY * 2 * 4 * _pixels(dataset)),
    )
    each, theirs = (row.median / images for row in comparison.rows)
    note = (
        f"{MANY} samples an image. {duration(each)} an image, so {duration(ALL * each)} for "
        f"{ALL:,} (aim: 180 s); the loop takes {duration(ALL * theirs)}."
    )
    return replace(comparison, notes=[note])


class BatchScores(Workload):
    """probseg's function on a batch: ``name`` of the task, label maps (B, N or A, H, W)."""

    def __init__(
        self, *, name: str, samples: Labels, annotations: Labels, device: str = "cpu"
    ) -> None:
        self.task = TASKS[name]
        self.samples = torch.from_numpy(samples).to(device)
        self.annotations = torch.from_numpy(annotations).to(device)

    def run(self) -> Scores:
        """Return the scores of all images."""
        scores: Scores = self.task.ours(self.samples, self.annotations).cpu().numpy()
        return scores


class PairScores(BatchScores):
    """A peer's function on a pair at a time, of masks that are boolean arrays already."""

    def __init__(self, *, peer: str, **options: Any) -> None:
        super().__init__(**options)
        self.score = self.task.loop(self.task.peers[peer]())
        self.sets = list(zip(self.samples.numpy() > 0, self.annotations.numpy() > 0, strict=True))

    def run(self) -> Scores:
        """Return the scores of all images."""
        return np.array([self.score(samples, annotations) for samples, annotations in self.sets])


class TestSet(Workload):
    """Metrics of the first test images, batch by batch like in the benchmark."""

    __test__ = False  # pytest shall not collect it

    def __init__(
        self,
        *,
        images: int,
        root: Path | None,
        small: bool,
        device: str = "cpu",
        names: Sequence[str] = OF_SAMPLES,
        samples: int = SAMPLES,
    ) -> None:
        self.names = names
        dataset = open_annotations(root, small=small)
        self.batches = [
            replace(
                evaluation,
                probabilities=evaluation.probabilities.to(device),
                annotations=evaluation.annotations.to(device),
            )
            for evaluation in evaluations(dataset, images, size=BATCH, samples=samples)
        ]

    def run(self) -> Scores:
        """Return the mean scores of all images."""
        values = (compute_metrics(batch, self.names).values() for batch in self.batches)
        each = [torch.stack(list(scores), dim=1) for scores in values]
        means: Scores = torch.cat(each).mean(0).cpu().numpy()
        return means


class LoopOverPairs(TestSet):
    """GED and both HM-IoU of the same images, pair by pair as public code does."""

    def run(self) -> Scores:
        """Return the mean scores of all images."""
        iou = peer_metrics.public_iou
        scores = (peer_metrics.energy(iou), peer_metrics.matched(iou), peer_metrics.best_pairs(iou))
        each = [
            [score(samples, annotations) for score in scores]
            for batch in self.batches
            for samples, annotations in zip(
                SharedEvaluation.of(batch).labels.numpy() > 0,
                batch.annotations.numpy() > 0,
                strict=True,
            )
        ]
        means: Scores = np.mean(each, axis=0)
        return means


def agree(ours: Scores, theirs: Scores, *, share: float) -> str:
    """Say in how many scores others differ.

    Raises:
        Disagreement: In a larger share than allowed.
    """
    differences = np.abs(ours - theirs)
    differ, worst = int((differences > TOLERANCE).sum()), differences.max()
    if differ > share * differences.size:
        raise Disagreement(f"{differ} of {differences.size} scores differ, by up to {worst:.1e}")
    if not differ:
        return f"to {worst:.0e}"
    return f"{differ} of {differences.size} distances differ, by {worst:.1f} pixels at most"


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
    for indices in chunked(range(images), size):
        for part in complete(dataset.batch(indices)):
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
