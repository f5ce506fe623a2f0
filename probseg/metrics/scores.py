"""The scores of a model or of masks on a data set: a value for each metric and image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probseg.errors import OptionError
from probseg.metrics.intervals import Values, mean_interval
from probseg.utils.atomic_files import atomic_file

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

    from probseg.metrics.reliability import Reliability

FEW_GROUPS = 10  # fewer make a bootstrap interval too narrow


class Summary(NamedTuple):
    """The mean of a metric over images, with a bootstrap interval; NaN where there is none."""

    mean: float
    low: float
    high: float
    images: int
    """Images on which the metric is defined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores(Mapping[str, Values]):
    """What :func:`probseg.evaluate` returns.

    A mapping from the names of metrics to their values on each image (N,). ``rich.print`` shows it
    as a table.
    """

    per_image: Mapping[str, Values]
    """Metric to its value on each image (N,), in the data's order; NaN where it is undefined."""
    groups: Sequence[str]
    """The group of each image, such as its patient."""
    ids: Sequence[str]
    """The name of each image, or its number in the data set."""
    samples: str
    """How many samples each image has."""
    subject: str
    """What was scored: the name of a model, a folder of masks."""
    data: str
    """What it was compared with: a data set and where it is from, a folder of masks."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """More that the scores depend on, as plain data: a seed, the data's fingerprint."""
    higher_is_better: Mapping[str, bool | None] = field(default_factory=dict)
    """Metric to whether larger values are better; None where neither is."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Metric to why it has no value on some images."""
    remarks: Sequence[str] = ()
    """What to know before the values are believed."""
    reliability: Reliability | None = None
    """The bins of a reliability diagram, if they were asked for."""

    def __getitem__(self, metric: str) -> Values:
        """Return a metric's value on each image (N,)."""
        return self.per_image[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.per_image)

    def __len__(self) -> int:
        return len(self.per_image)

    def __repr__(self) -> str:
        """Return the means, and of how many images."""
        means = ", ".join(f"{name} = {value:.3f}" for name, value in self.mean().items())
        return f"Scores of {self.subject} on {len(self.groups)} images: {means}"

    def mean(self) -> dict[str, float]:
        """Return each metric's mean over the images on which it is defined; NaN if there is none.

        The same mean as in the benchmark's tables.
        """
        return {name: _mean(values) for name, values in self.per_image.items()}

    def summary(self, confidence: float = 0.95) -> dict[str, Summary]:
        """Return each metric's mean with a bootstrap interval over groups.

        Args:
            confidence: Of the interval, between 0 and 1.

        Raises:
            OptionError: It is not.
        """
        if not 0 < confidence < 1:
            raise OptionError(f"confidence must be between 0 and 1, not {confidence!r}")
        return {name: self._summarise(name, confidence) for name in self.per_image}

    def to_csv(self, path: str | Path) -> None:
        """Write a row for each image: its name, its group and each metric, empty if undefined.

        Raises:
            WriteError: The file cannot be written; none is left behind.
        """
        write_rows(path, ["image", "group", *self.per_image], self.rows())

    def rows(self) -> Iterator[list[str]]:
        """Yield the name of each image, its group and its values, empty if undefined."""
        for index, names in enumerate(zip(self.ids, self.groups, strict=True)):
            values = (float(values[index]) for values in self.per_image.values())
            yield [*names, *("" if isnan(value) else repr(value) for value in values)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield a table in characters that the console's encoding has."""
        yield self._table("-" if options.ascii_only else "–")

    def _table(self, none: str) -> Table:
        """Return a table of means and intervals, with the reason where a metric has none."""
        from rich.table import Table
        from rich.text import Text

        images, groups = len(self.groups), len(set(self.groups))
        caption = f"{images} images of {groups} groups, {self.samples} samples each; {self.data}"
        reasons = [f"{none} {name}: {reason}" for name, reason in self.problems.items()]
        few = [f"the intervals are rough, as there are {groups} groups"] * (groups < FEW_GROUPS)
        lines = [caption, *reasons, *few, *self.remarks]
        table = Table(title=Text(self.subject), caption=Text("\n".join(lines)))
        table.add_column("metric")
        for heading in ("mean", "95 % interval", "images", "better"):
            table.add_column(heading, justify="right")
        for name, row in self.summary().items():
            better = {True: "higher", False: "lower", None: none}[self.higher_is_better.get(name)]
            interval = none if isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}"
            mean = none if isnan(row.mean) else f"{row.mean:.3f}"
            table.add_row(Text(name), mean, interval, str(row.images), better)
        return table

    def _summarise(self, metric: str, confidence: float) -> Summary:
        values = self.per_image[metric]
        defined = np.isfinite(values)
        groups = [group for group, there in zip(self.groups, defined, strict=True) if there]
        ends = (nan, nan)
        if groups:
            ends = mean_interval(values[defined], groups, confidence=confidence)
        return Summary(_mean(values), *ends, images=len(groups))


def write_rows(path: str | Path, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file in UTF-8, whole or not at all.

    Raises:
        WriteError: The file cannot be written; none is left behind.
    """
    options: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "replace"}
    with atomic_file(Path(path)) as temporary, temporary.open("w", **options) as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)


def _mean(values: Values) -> float:
    defined = values[np.isfinite(values)]
    return fsum(defined) / len(defined) if len(defined) else nan
