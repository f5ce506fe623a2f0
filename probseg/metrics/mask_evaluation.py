"""Score masks that any program wrote, in folders, and no model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
import torch
from numpy.typing import NDArray

from probseg.datasets.mask_folders import MaskFolders
from probseg.datasets.splits import natural
from probseg.errors import DataError
from probseg.interfaces import Evaluation, Metric
from probseg.metrics.score_collector import ScoreCollector, choose_metrics
from probseg.metrics.score_comparison import ScoreComparison
from probseg.metrics.scores import Scores
from probseg.utils.progress import progress_bar

_READERS = 4
_AHEAD = 32  # images that are read ahead, and
_BATCH = 8  # images that are scored together, at most; fewer large ones
_MEMORY = 256 << 20  # bytes of the images of either
_LISTED = 3  # images that a message names


class Masks(NamedTuple):
    """What there is of an image."""

    samples: NDArray[Any]  # (N, H, W) classes, or probabilities (N, K, H, W)
    annotations: NDArray[np.uint8]  # (A, H, W)
    spacing: NDArray[np.floating[Any]]  # (2,) mm between rows and columns, NaN where unknown


def evaluate_masks(
    samples: MaskFolders,
    annotations: MaskFolders,
    *,
    metrics: Mapping[str, Metric] | Iterable[str] | None = None,
    groups: Mapping[str, str] | None = None,
    common: bool = False,
    reliability: bool = False,
    progress: bool = True,
) -> Scores:
    """Score the sampled masks of every image against its annotations.

    Args:
        samples: Masks that a model predicted, or their probabilities
            (:class:`~probseg.datasets.probability_folders.ProbabilityFolders`).
        annotations: Masks that people drew.
        metrics: Names of registered metrics, or metrics by any name; by default those that
            :func:`probseg.evaluate` takes for a model without a latent space.
        groups: The group of an image, such as its patient; without it each is a group of its own.
        common: Whether to score the images that both have, where one has more.
        reliability: Whether to count as well what a reliability diagram shows.
        progress: Whether to show a progress bar where the output is a terminal.

    Raises:
        DataError: An image is in one of the two only, a file is damaged, or sizes or places
            differ.
        UnknownNameError: No metric has that name.
    """
    ids = _common_ids({"samples": samples}, annotations, common=common)
    how: dict[str, Any] = {"metrics": metrics, "groups": groups, "reliability": reliability}
    return _evaluate(samples, annotations, ids, **how, progress=progress)


def compare_masks(
    systems: Mapping[str, MaskFolders],
    annotations: MaskFolders,
    *,
    metrics: Mapping[str, Metric] | Iterable[str] | None = None,
    groups: Mapping[str, str] | None = None,
    common: bool = False,
    reliability: bool = False,
    progress: bool = True,
) -> ScoreComparison:
    """Score the masks of several systems against the annotations of the same images.

    Args:
        systems: Name to the masks that it predicted, or their probabilities.
        annotations: Masks that people drew.
        metrics: As of :func:`evaluate_masks`.
        groups: As of :func:`evaluate_masks`.
        common: Whether to score the images that all systems and the annotations have.
        reliability: As of :func:`evaluate_masks`.
        progress: Whether to show progress bars where the output is a terminal.

    Raises:
        OptionError: There is one system only.
        DataError: As of :func:`evaluate_masks`.
        UnknownNameError: No metric has that name.
    """
    ids = _common_ids(systems, annotations, common=common)
    how: dict[str, Any] = {"metrics": metrics, "groups": groups, "reliability": reliability}
    return ScoreComparison(
        {
            name: _evaluate(samples, annotations, ids, **how, progress=progress)
            for name, samples in systems.items()
        }
    )


def _evaluate(
    samples: MaskFolders,
    annotations: MaskFolders,
    ids: Sequence[str],
    *,
    metrics: Mapping[str, Metric] | Iterable[str] | None,
    groups: Mapping[str, str] | None,
    reliability: bool,
    progress: bool,
) -> Scores:
    chosen = choose_metrics(metrics, latent=False)
    collector = ScoreCollector(chosen, reliability=reliability)
    counts = set()
    with progress_bar("scoring", len(ids), show=None if progress else False) as advance:
        for batch in _batches(samples, annotations, ids):
            columns = zip(*batch, strict=True)
            predicted, drawn, spacing = (torch.from_numpy(np.stack(one)) for one in columns)
            counts.add(predicted.shape[1])
            collector.add(
                Evaluation(
                    *(predicted, drawn),
                    classes=samples.classes,
                    ignore_index=annotations.ignore_index,
                    spacing=spacing,
                )
            )
            advance(len(batch))
    return Scores(
        per_image=collector.values(),
        ids=list(ids),
        groups=_groups(ids, groups),
        samples=f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(*counts),
        subject=str(samples.root),
        data=str(annotations.root),
        higher_is_better={name: metric.higher_is_better for name, metric in chosen.items()},
        problems=collector.problems,
        remarks=collector.remarks(),
        reliability=collector.reliability,
    )


def _groups(ids: Sequence[str], groups: Mapping[str, str] | None) -> list[str]:
    """Return the group of each image; without any each is its own.

    Raises:
        DataError: An image has none.
    """
    if groups is None:
        return list(ids)
    composed = {normalize("NFC", name): group for name, group in groups.items()}
    if missing := [name for name in ids if normalize("NFC", name) not in composed]:
        others = sorted(composed.keys() - {normalize("NFC", name) for name in ids}, key=natural)
        raise DataError(
            f"{len(missing)} of {len(ids)} images have no group: {_first(missing)}; each needs one "
            "under the name of its folder"
            f"{f', and no folder is called {_first(others)}' if others else ''}"
        )
    return [composed[normalize("NFC", name)] for name in ids]


def _first(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_LISTED])}{' …' if len(names) > _LISTED else ''}"


def _common_ids(
    systems: Mapping[str, MaskFolders], annotations: MaskFolders, *, common: bool
) -> list[str]:
    """Return the images that annotations and all systems have, in natural order.

    Raises:
        DataError: There is none, or one has more than the other and ``common`` is not set.
    """
    everywhere = set(annotations.ids).intersection(*(samples.ids for samples in systems.values()))
    if common and not everywhere:
        every = [one.root for one in (*systems.values(), annotations)]
        raise DataError(
            f"no image is in all of {', '.join(map(str, every))}; folders of the same name belong "
            "together"
        )
    for samples in systems.values():
        sides = (samples, annotations, "annotations"), (annotations, samples, "samples")
        for lacks, has, what in sides:
            there = set(has.ids)
            missing = [name for name in lacks.ids if name not in there]
            if missing and not common:
                raise DataError(
                    f"{len(missing)} images of {lacks.root} have no {what} in {has.root}: "
                    f"{_first(missing)}; folders of the same name belong together (--common scores "
                    "those that both have)"
                )
    return [name for name in annotations.ids if name in everywhere]


def _batches(
    samples: MaskFolders, annotations: MaskFolders, ids: Sequence[str]
) -> Iterator[list[Masks]]:
    """Yield masks of some images at a time, all of one number of samples and annotations."""
    for _, same in groupby(_read(samples, annotations, ids), lambda masks: _shapes(masks)):
        batch: list[Masks] = []
        for masks in same:
            batch.append(masks)
            if len(batch) == min(_BATCH, _fitting(masks)):
                yield batch
                batch = []
        if batch:
            yield batch


def _read(samples: MaskFolders, annotations: MaskFolders, ids: Sequence[str]) -> Iterator[Masks]:
    """Yield the masks of each image in order, some images read ahead by threads."""

    def read(name: str) -> Masks:
        if samples.tells_place(name) != annotations.tells_place(name):
            raise DataError(
                f"{name}: of samples and annotations one has headers that tell where they lie "
                "(NIfTI, NRRD, MHA) and the other none, so their orientation is unknown; save "
                "both as one kind of file"
            )
        place = annotations.place(name)
        predicted, drawn = samples.read(name, place), annotations.read(name, place)
        if predicted.shape[-2:] != drawn.shape[1:]:
            raise DataError(
                f"{name}: the samples are {predicted.shape[-2:]} pixels, the annotations "
                f"{drawn.shape[1:]}; write the samples at the annotations' size"
            )
        return Masks(predicted, drawn, np.full(2, np.nan) if place is None else place.spacing)

    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[Future[Masks]] = deque()
        ahead = 0  # until the first image says how large they are
        try:
            for name in ids:
                waiting.append(pool.submit(read, name))
                while len(waiting) > ahead:
                    masks = waiting.popleft().result()
                    ahead = min(_AHEAD, _fitting(masks))
                    yield masks
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _fitting(masks: Masks) -> int:
    """Return how many images like this one fit into the bound, one at least."""
    return max(1, _MEMORY // (masks.samples.nbytes + masks.annotations.nbytes))


def _shapes(masks: Masks) -> tuple[tuple[int, ...], ...]:
    return masks.samples.shape, masks.annotations.shape
