"""The data of an experiment: a data set, cropped, split, and thinned where the profile says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.results import DataSummary
from benchmarks.suite.settings import FOLDS, DataSettings
from probseg.datasets.splits import Split, split, thin
from probseg.options import named_parameters

if TYPE_CHECKING:  # torch takes seconds, which a plan need not spend
    from probseg.interfaces import Dataset


@dataclass(frozen=True)
class Data:
    """A data set and what trains, validates and tests."""

    source: Dataset  # as it was opened
    split: Split
    train: Dataset
    validation: Dataset
    test: Dataset
    test_index: Sequence[int]  # into the source

    def summary(self) -> DataSummary:
        """Return the data of a result."""
        return DataSummary(
            fingerprint=self.source.fingerprint,
            provenance=self.source.provenance,
            split=f"by {self.split.by}, seed {self.split.seed}, {self.split.folds} folds",
            train=len(self.train),
            validation=len(self.validation),
            test=len(self.test),
            channels=self.source.channels,
            classes=self.source.classes,
            annotators=self.source.annotators,
        )


def open_dataset(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    root: Path | None = None,
    pack: bool = True,
) -> Dataset:
    """Open a data set from its name and options; one that lies on the disk gets the data root.

    Raises:
        MissingDataError: It is not on this disk; the message says how to get it.
        NotPackedError: It is not packed, and ``pack`` is false.
        DataError: It is incomplete or damaged.
    """
    given, takes = dict(options or {}), named_parameters(probseg.datasets[name])
    if root is not None and takes_root(name):
        given["root"] = root / given["root"] if "root" in given else root
    if not pack and "pack" in takes:
        given["pack"] = False
    dataset: Dataset = probseg.datasets.create(name, **given)
    return dataset


def takes_root(name: str) -> bool:
    """Return whether a data set is read from files, which lie in a data root."""
    return "root" in named_parameters(probseg.datasets[name])


@cache
def _open_cached(name: str, options: str, root: Path | None, pack: bool) -> Dataset:
    return open_dataset(name, json.loads(options), root=root, pack=pack)


def dataset_of(experiment: Experiment, root: Path | None, *, pack: bool = True) -> Dataset:
    """Return the data set of an experiment, which this process opens once."""
    return _open_cached(experiment.dataset, json.dumps(experiment.dataset_options), root, pack)


def forget_datasets() -> None:
    """Let the next experiment open its data set anew, since files may have changed."""
    _open_cached.cache_clear()


def prepare(dataset: Dataset, settings: DataSettings, fold: int | None) -> Data:
    """Crop and split a data set by the settings of an experiment."""
    from probseg.datasets.views import CentreCrop, Subset

    seed = settings.split_seed
    sides = split(dataset.groups, fold=fold or 0, folds=FOLDS, seed=seed, by=settings.split)
    view = dataset if settings.crop is None else CentreCrop(dataset, settings.crop)
    test = thin(sides.test, settings.images, seed=seed)
    return Data(
        source=dataset,
        split=sides,
        train=Subset(view, sides.train),
        validation=Subset(view, thin(sides.validation, settings.validation_images, seed=seed)),
        test=Subset(view, test),
        test_index=test,
    )
