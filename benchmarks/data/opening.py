"""Opening data sets by name, with the data root and the options of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.arguments import add_data_root, check_data_root
from probseg.cli.parser import Parser, add_set, parse_assignments
from probseg.options import named_parameters

if TYPE_CHECKING:
    from probseg.interfaces import Dataset


@dataclass(frozen=True)
class Source:
    """Where data sets lie, and the options that they are opened with."""

    root: Path | None = None
    options: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Source:
        """Return what ``--data-root`` and ``--set`` say.

        Raises:
            OptionError: There is no such data root, or an option is no assignment.
        """
        check_data_root(options.data_root)
        return cls(options.data_root, parse_assignments(options.set))

    def open(self, name: str, **defaults: Any) -> Dataset:
        """Open a data set; it is given those of the ``defaults`` that it takes.

        Raises:
            ProbsegError: It is missing or damaged, or has no such option.
        """
        takes = named_parameters(probseg.datasets[name])
        options = {key: value for key, value in defaults.items() if key in takes}
        options |= self.options or {}
        if self.root is not None and "root" in takes:
            options["root"] = self.root / options.get("root", "")
        dataset: Dataset = probseg.datasets.create(name, **options)
        return dataset


def add_source(parser: Parser) -> None:
    """Add ``--data-root`` and ``--set``, which :meth:`Source.of` reads."""
    add_data_root(parser)
    add_set(parser, "options of the data set")


def sample_name(dataset: Dataset, index: int) -> str:
    """Return a sample's id if the data set has ids, else its group and index."""
    ids = getattr(dataset, "ids", None)
    return str(ids[index]) if ids is not None else f"{dataset.groups[index]} [{index}]"


def annotator_names(dataset: Dataset) -> list[str]:
    """Return the annotators' names in the order of the masks, or numbers if they have no names."""
    names = getattr(dataset, "source_state", {}).get("annotators", ())
    named = len(names) == dataset.annotators
    return [str(name) for name in (names if named else range(dataset.annotators))]
