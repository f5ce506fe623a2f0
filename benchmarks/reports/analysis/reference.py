"""The numbers that the paper prints in its Tables 1 and 2 (``benchmarks/reference``)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.reports.tables import Summary

FOLDER = Path(__file__).parents[2] / "reference"
FOLDS = 3  # "due to threefold cross-validation", the tables' captions
NAMES = {
    "w-iou": "one_minus_iou",
    "w-dice": "one_minus_dice",
    "w-hausdorff": "hausdorff",
    "w-cross-entropy": "cross_entropy",
    "gini": "gini",
}


@dataclass(frozen=True)
class Published:
    """What the paper prints of one data set."""

    number: int  # of the table
    dataset: str
    rows: Mapping[str, Mapping[str, Summary]]  # model to metric to mean and deviation

    def value(self, row: str, metric: str) -> Summary:
        """Return a model's value."""
        return self.rows[row][metric]

    def lowest(self, metric: str) -> str:
        """Return the model with the lowest value, which the paper prints bold."""
        return min(self.rows, key=lambda row: self.rows[row][metric].mean)


@cache
def published() -> tuple[Published, ...]:
    """Return every data set of Tables 1 and 2, in the paper's order."""
    found: dict[tuple[int, str], dict[str, dict[str, Summary]]] = {}
    for number in (1, 2):
        text = (FOLDER / f"table{number}.csv").read_text(encoding="utf-8")
        for line in csv.DictReader(text.splitlines()):
            values = {m: _summary(line, column) for m, column in NAMES.items()}
            found.setdefault((number, line["dataset"]), {})[line["model"]] = values
    return tuple(Published(number, dataset, rows) for (number, dataset), rows in found.items())


def _summary(line: Mapping[str, str], column: str) -> Summary:
    return Summary(float(line[column]), float(line[f"{column}_sd"]), FOLDS)
