"""The correlation of the prior's Gini index with Ŵ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How the Gini index goes with a metric; intervals are 95 %, NaN where undefined."""

    profile: str
    dataset: str
    metric: str
    over: str  # "cells" (every model, fold and seed is a point) or "images" of the row
    row: str | None  # None over cells
    points: int
    pearson: float
    pearson_low: float
    pearson_high: float
    spearman: float
    spearman_low: float
    spearman_high: float
