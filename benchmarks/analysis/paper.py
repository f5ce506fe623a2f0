"""The paper's Tables 1 and 2, with its values beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.tables import Column, Summary


@dataclass(frozen=True)
class Entry:
    """One value of the paper and ours."""

    paper: Summary
    ours: Summary | None
    paper_best: bool  # the lowest of the data set's models, to the digits shown
    best: bool
    differs: bool  # by more than the two spreads together


@dataclass(frozen=True)
class PaperRow:
    """One model on one data set."""

    dataset: str
    model: str
    entries: Mapping[str, Entry]  # metric to values


@dataclass(frozen=True)
class PaperTable:
    """Table 1 or 2 of the paper."""

    number: int
    profile: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[PaperRow]
