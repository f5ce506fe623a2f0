"""The scores of several systems on the same images, and whether they differ by more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from probseg.errors import DataError, OptionError
from probseg.metrics.paired import PairedTest, adjust, compare
from probseg.metrics.scores import FEW_GROUPS, Scores, write_rows

# Hungarian-matched IoU is 1 − Ŵ(1 − IoU): a test of it would only repeat that one.
_REPEATS = {"hungarian-iou": "w-iou"}


@dataclass(frozen=True)
class ScoreComparison:
    """Scores of several systems on the same images.

    Args:
        scores: Name to scores, whose images, groups and metrics are the same.

    Raises:
        OptionError: There is one system only.
        DataError: Their images, groups or metrics differ.

    >>> of = {"per_image": {"ged": np.array([0.2, 0.3])}, "groups": ["p1", "p2"]}
    >>> said = {"ids": ["a", "b"], "samples": "4", "subject": "x", "data": "y"}
    >>> one = Scores(**of, **said, higher_is_better={"ged": False})
    >>> ScoreComparison({"one": one, "other": one}).tests[0].difference
    0.0
    """

    scores: Mapping[str, Scores]

    def __post_init__(self) -> None:
        if len(self.scores) < 2:
            raise OptionError("a comparison needs two systems or more")
        (name, first), *others = self.scores.items()
        for other, scores in others:
            if list(scores.ids) != list(first.ids):
                raise DataError(
                    f"{other} and {name} were scored on other images; score both on those that "
                    "both have"
                )
            if list(scores.groups) != list(first.groups):
                raise DataError(f"{other} and {name} say otherwise which images are of one group")
            given = {one.about.get("fingerprint") for one in (scores, first)} - {None}
            if len(given) > 1:
                raise DataError(
                    f"{other} and {name} were scored on other data; score both on the same"
                )
            if list(scores) != list(first):
                raise DataError(f"{other} and {name} were scored with other metrics")

    @property
    def metrics(self) -> list[str]:
        """The metrics, in the order of the scores."""
        return list(next(iter(self.scores.values())))

    @cached_property
    def tests(self) -> list[PairedTest]:
        """A paired test of every two systems in each metric of which one value is better.

        They are one family of Holm's correction. Images on which one of two has no value are left
        out of their test.
        """
        direction = next(iter(self.scores.values())).higher_is_better
        tested = [
            metric
            for metric in self.metrics
            if direction.get(metric) is not None and _REPEATS.get(metric) not in self.metrics
        ]
        pairs = combinations(self.scores, 2)
        tests = [
            self._test(*pair, metric, direction[metric]) for pair in pairs for metric in tested
        ]
        return adjust([test for test in tests if test])

    @property
    def remarks(self) -> list[str]:
        """What to know before the systems are compared."""
        remarks = []
        first = next(iter(self.scores.values()))
        if (groups := len(set(first.groups))) < FEW_GROUPS:
            remarks.append(f"the intervals are rough, as there are {groups} groups")
        tested = {test.metric for test in self.tests}
        if left := [metric for metric in self.metrics if metric not in tested]:
            remarks.append(
                f"not tested: {', '.join(left)}; neither direction is better, or another metric "
                "says the same"
            )
        counts = {name: scores.samples for name, scores in self.scores.items()}
        if len(set(counts.values())) == 1:
            return remarks
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        return [
            *remarks,
            f"the numbers of samples an image differ ({told}), on which GED, diversity and the "
            "scores of matched sets depend: more samples alone make them better; compare equally "
            "many, or the metrics ged16, ged32 and ged100, which allow for it",
        ]

    def _test(
        self, first: str, second: str, metric: str, higher_is_better: bool | None
    ) -> PairedTest | None:
        one, other = (self.scores[name] for name in (first, second))
        both = np.isfinite(one[metric]) & np.isfinite(other[metric])
        if not both.any():
            return None
        groups = np.asarray(one.groups)[both]
        comparison = compare(one[metric][both], other[metric][both], groups)
        return PairedTest(
            **asdict(comparison),
            metric=metric,
            first=first,
            second=second,
            adjusted=comparison.p,
            higher_is_better=higher_is_better,
        )

    def to_csv(self, path: str | Path) -> None:
        """Write a row for each system and image: their names, the group and each metric.

        Raises:
            WriteError: The file cannot be written; none is left behind.
        """
        rows = ([name, *row] for name, scores in self.scores.items() for row in scores.rows())
        write_rows(path, ["system", "image", "group", *self.metrics], rows)
