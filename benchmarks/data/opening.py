"""Data sets by name, from the place and with the options that the command line gives."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.arguments import choose
from probseg.cli.parser import parse_assignments as assigned
from probseg.errors import OptionError
from probseg.options import named_parameters

if TYPE_CHECKING:
    from probseg.interfaces import Dataset


def check_choices(options: argparse.Namespace, names: Iterable[str]) -> tuple[str, ...]:
    """Return the data sets that are asked for, before anything is imported or read.

    Raises:
        OptionError: One is unknown, an option is no assignment, or there is no such data root.
    """
    check_root(options.data_root)
    assigned(options.set)
    return choose(names, probseg.datasets, kind="data set")


def check_root(root: Path | None) -> None:
    """Refuse a data root that does not exist.

    Raises:
        OptionError: It does not.
    """
    if root is not None and not root.exists():
        raise OptionError(f"--data-root {root} does not exist; give the place of the data sets")


def needs_root(name: str) -> bool:
    """Return whether a data set lies on the user's disk, that is, takes a data root."""
    return "root" in named_parameters(probseg.datasets[name])


def open_named(name: str, options: argparse.Namespace, **defaults: Any) -> Dataset:
    """Open a data set; of the ``defaults``, those that it has as options are passed on.

    Raises:
        ProbsegError: It is not there, damaged, or has no such option.
    """
    from benchmarks.jobs.data import open_dataset

    takes = named_parameters(probseg.datasets[name])
    fitting = {key: value for key, value in defaults.items() if key in takes}
    return open_dataset(name, {**fitting, **assigned(options.set)}, root=options.data_root)


def name_of(dataset: Dataset, index: int) -> str:
    """Return a sample's name: its id where the data set has any, else its group and index."""
    ids = getattr(dataset, "ids", None)
    return str(ids[index]) if ids is not None else f"{dataset.groups[index]} [{index}]"


def annotators_of(dataset: Dataset) -> list[str]:
    """Return the annotators' names, in the order of the masks; their numbers if they have none."""
    names = getattr(dataset, "source_state", {}).get("annotators", ())
    known = len(names) == dataset.annotators
    return [str(name) for name in (names if known else range(dataset.annotators))]
