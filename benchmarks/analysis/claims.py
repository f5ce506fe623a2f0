"""Verdicts on the paper's claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["reproduced", "not reproduced", "not tested"]


@dataclass(frozen=True)
class Verdict:
    """What the results say of one claim on one data set, in plain language."""

    claim: str
    dataset: str
    source: str  # where the paper claims it
    outcome: Outcome
    why: str
