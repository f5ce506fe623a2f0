"""Metrics of 16 samples, or 100, and four annotators of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.jobs.scoring import OF_SAMPLES, score
from benchmarks.speed import pairwise
from benchmarks.speed.contest import OURS, Contest, Disagreement, Entry, Floor, hold
from benchmarks.speed.masks import evaluations, open_annotations
from benchmarks.speed.options import Options
from benchmarks.speed.report import duration
from probseg.interfaces import Dataset, Evaluation
from probseg.metrics.evaluation import SharedEvaluation, evaluate
from probseg.metrics.ged import generalised_energy_distance
from probseg.metrics.hausdorff import hausdorff_cost
from probseg.metrics.matching import hungarian_iou

Scores = NDArray[np.float64]
EXACT = 1e-6  # single-precision peers
SURFACES = 0.15  # of the pairs may differ where a peer measures surfaces
SAMPLES, MANY, BATCH = 16, 100, 16
SETS = ("ged", "hungarian-iou")


class Task(NamedTuple):
    """A metric: how probseg computes it, and how others do, with a function of a pair of masks."""

    title: str
    ours: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    loop: Callable[..., Any]
    pairs: dict[str, Callable[[], pairwise.Pair]]
    surfaces: tuple[str, ...]  # the peers that measure these
    aim: int  # times as fast as the fastest peer


OVERLAPS: dict[str, Callable[[], pairwise.Pair]] = {
    "public PU-Net code": pairwise.public_iou,
    "NumPy": pairwise.numpy_iou,
    "medpy": pairwise.medpy_iou,
    "MONAI": pairwise.monai_iou,
    "torchmetrics": pairwise.torchmetrics_iou,
}
DISTANCES: dict[str, Callable[[], pairwise.Pair]] = {
    "scipy, directed_hausdorff": pairwise.directed,
    "scipy, cdist": pairwise.all_distances,
    "scipy, distance transforms": pairwise.transforms,
    "scikit-image": pairwise.skimage_hausdorff,
    "surface-distance": pairwise.surface_hausdorff,
    "medpy": pairwise.medpy_hausdorff,
    "MONAI": pairwise.monai_hausdorff,
}
TASKS = {
    "ged": Task(
        "Generalised energy distance",
        lambda samples, annotations: generalised_energy_distance(samples, annotations).squared,
        pairwise.energy,
        OVERLAPS,
        (),
        60,
    ),
    "hungarian-iou": Task(
        "Hungarian-matched IoU", hungarian_iou, pairwise.matched, OVERLAPS, (), 8
    ),
    "hausdorff": Task(
        "Hausdorff distance of all pairs",
        hausdorff_cost,
        pairwise.hausdorff,
        DISTANCES,
        ("surface-distance", "medpy", "MONAI"),
        30,
    ),
}


def contests(options: Options) -> list[Contest]:
    """Return the tables of this topic."""
    dataset = open_annotations(options.data_root, small=options.small)
    sizes = (2,) if options.small else (BATCH, 1)
    found = [_compare(name, images, dataset, options) for name in TASKS for images in sizes]
    counts = (MANY,) if options.small else (SAMPLES, MANY)
    several = [_together(count, options) for count in counts]
    return [*found, _test_set(dataset, options), *several]


def _compare(name: str, images: int, dataset: Dataset, options: Options) -> Contest:
    task = TASKS[name]
    known = {"name": name, "images": images, "root": options.data_root, "small": options.small}
    entries = [Entry(name=OURS, make=Ours, options=known | {"device": options.device})]
    for peer in list(task.pairs)[-1 if options.small else 0 :]:
        share = SURFACES if peer in task.surfaces else 0.0
        agree = partial(same, share=share)
        entries.append(Entry(name=peer, make=Loop, options=known | {"peer": peer}, agree=agree))
    count = f"{images} image{'s' * (images > 1)}"
    contest = hold(
        f"{task.title}: {count}, {SAMPLES} samples and {dataset.annotators} annotators each",
        entries,
        rounds=options.rounds,
        floor=_floor(options, images * (SAMPLES + dataset.annotators) * _pixels(dataset)),
        watch=options.watch,
    )
    return replace(contest, notes=_notes(contest, task, images, dataset))


def _notes(contest: Contest, task: Task, images: int, dataset: Dataset) -> list[str]:
    first, *peers = contest.rows
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
    if task.surfaces:
        notes.append(
            f"{', '.join(task.surfaces)} measure between surfaces, eq. 16 between all foreground "
            "pixels, so that some distances differ. Pairs with an empty mask are not given to "
            "others, which raise or return inf, nan or 0."
        )
    return notes


def _floor(options: Options, bytes_read: int) -> Floor:
    rate = options.machine.bandwidth
    return Floor(
        seconds=bytes_read / rate,
        why=f"{bytes_read / 1e6:.1f} MB read once at {rate / 1e9:.1f} GB/s",
    )


def _pixels(dataset: Dataset) -> int:
    return dataset[0].masks[0].numel()


def _test_set(dataset: Dataset, options: Options) -> Contest:
    images = options.size(2800, 4)
    known = {"images": images, "root": options.data_root, "small": options.small}
    contest = hold(
        f"All {len(OF_SAMPLES)} metrics of {images:,} images, beyond the forward passes",
        [Entry(name=OURS, make=TestSet, options=known | {"device": options.device})],
        rounds=min(options.rounds, 3),
        floor=_floor(options, images * SAMPLES * 2 * 4 * _pixels(dataset)),
        watch=options.watch,
    )
    different = min(images, TestSet.DIFFERENT)
    return replace(
        contest,
        notes=[
            f"{different} different images of {dataset.name}'s {len(dataset):,} test images, over "
            f"and over, in batches of {BATCH}: {duration(contest.rows[0].median / images)} an "
            "image (aim: 60 s for all)."
        ],
    )


def _together(samples: int, options: Options) -> Contest:
    images = options.size(BATCH, 2)
    known = {"images": images, "samples": samples, "root": options.data_root}
    known |= {"small": options.small, "device": options.device}
    entries = [
        Entry(name=f"all {len(OF_SAMPLES)}", make=Together, options=known | {"names": OF_SAMPLES}),
        Entry(name=" and ".join(SETS), make=Together, options=known | {"names": SETS}),
    ]
    if options.device != "cpu":
        there = dict(entries[0].options) | {"device": "cpu"}
        agree = partial(same, share=0.0)
        entries.append(Entry(name="all on the CPU", make=Together, options=there, agree=agree))
    return hold(
        f"Metrics on {options.device}: {images} images, {samples} samples each",
        entries,
        rounds=min(options.rounds, 3),
        watch=options.watch,
    )


class Case:
    """Samples and annotations of some images.

    Args:
        name: Of the task.
        images: B.
        root: Folder of LIDC, or None.
        small: Whether drawn shapes will do.
    """

    def __init__(self, *, name: str, images: int, root: Any, small: bool) -> None:
        dataset = open_annotations(root, small=small)
        (evaluation,) = evaluations(dataset, images, size=images, samples=SAMPLES)
        self.samples = SharedEvaluation.of(evaluation).labels
        self.annotations = evaluation.annotations
        self.task = TASKS[name]

    def answer(self) -> Scores:
        """Return the scores."""
        return self.run()

    def run(self) -> Scores:
        """Return the scores of all images."""
        raise NotImplementedError


class Ours(Case):
    """probseg's function on a batch."""

    def __init__(self, *, device: str, **known: Any) -> None:
        super().__init__(**known)
        self.samples, self.annotations = self.samples.to(device), self.annotations.to(device)

    def run(self) -> Scores:
        """Return the scores of all images."""
        scores: Scores = self.task.ours(self.samples, self.annotations).cpu().numpy()
        return scores


class Loop(Case):
    """A pair at a time, on masks that are NumPy's and boolean already."""

    def __init__(self, *, peer: str, **known: Any) -> None:
        super().__init__(**known)
        self.score = self.task.loop(self.task.pairs[peer]())
        self.sets = list(zip(self.samples.numpy() > 0, self.annotations.numpy() > 0, strict=True))

    def run(self) -> Scores:
        """Return the scores of all images."""
        return np.array([self.score(samples, annotations) for samples, annotations in self.sets])


class TestSet:
    """All metrics of a test set, batch by batch as the benchmark has it."""

    __test__ = False  # no test of pytest's
    DIFFERENT = 256  # images, so that their samples fit in memory

    def __init__(self, *, images: int, root: Any, small: bool, device: str) -> None:
        dataset = open_annotations(root, small=small)
        different = min(images, self.DIFFERENT)
        found = evaluations(dataset, different, size=BATCH, samples=SAMPLES)
        self.batches = [_moved(one, device) for one in found]
        self.turns = math.ceil(images / len(self.batches[0].annotations))
        self.images, self.device = images, device

    def run(self) -> Scores:
        """Return the mean scores of all of them."""
        kept = [
            np.stack([value.cpu() for value in score([batch]).values()], axis=1)
            for batch in islice(cycle(self.batches), self.turns)
        ]
        means: Scores = np.concatenate(kept)[: self.images].mean(0)
        return means

    def answer(self) -> Scores:
        """Return the mean scores."""
        return self.run()


class Together:
    """Some metrics of a batch of a model's answers, as they lie on a device."""

    def __init__(
        self, *, names: Sequence[str], images: int, samples: int, device: str, **where: Any
    ) -> None:
        found = evaluations(open_annotations(**where), images, size=images, samples=samples)
        self.batch, self.names = _moved(next(found), device), names

    def run(self) -> Scores:
        """Return the scores of every image, a metric a row."""
        found = evaluate(self.batch, self.names)
        return torch.stack([*found.values()]).cpu().numpy()

    def answer(self) -> Scores:
        """Return the scores."""
        return self.run()


def _moved(evaluation: Evaluation, device: str) -> Evaluation:
    return replace(
        evaluation,
        probabilities=evaluation.probabilities.to(device),
        annotations=evaluation.annotations.to(device),
    )


def same(ours: Scores, theirs: Scores, *, share: float) -> str:
    """Say in how many scores others differ.

    Raises:
        Disagreement: In a larger share than they may.
    """
    apart = np.abs(ours - theirs)
    differ = int((apart > EXACT).sum())
    if differ > share * apart.size:
        raise Disagreement(f"{differ} of {apart.size} scores differ, by up to {apart.max():.1e}")
    if not differ:
        return f"to {apart.max():.0e}"
    return f"{differ} of {apart.size} distances differ, by {apart.max():.1f} pixels at most"
